// The web page at /: a chat, and what the server is doing. One file, no requests elsewhere.
#include "serve/protocols.h"

namespace tokamak::serve {
namespace {

constexpr std::string_view kPage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tokamak</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark;
  --back: #f6f6f4; --card: #fff; --ink: #1c1d20; --soft: #61646b; --line: #dcdcd8; --mark: #b4470f;
  --user: #ecebe6; --bar: #d98b5f; }
@media (prefers-color-scheme: dark) { :root {
  --back: #15171a; --card: #1d2024; --ink: #e8e8e6; --soft: #9a9ea6; --line: #33373d; --mark: #f08c4f;
  --user: #2a2e34; --bar: #b4683a; } }
* { box-sizing: border-box; }
body { margin: 0; height: 100vh; height: 100dvh; display: grid; grid-template: 3.5rem 1fr / minmax(0, 1fr) 19rem;
  background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header { grid-column: 1 / 3; display: flex; gap: 1rem; align-items: center; padding: 0 1.2rem;
  border-bottom: 1px solid var(--line); background: var(--card); }
header h1 { font-size: 1.05rem; margin: 0; }
#model { min-width: 0; color: var(--soft); font-size: .9rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
header button { margin-left: auto; }
main { display: flex; flex-direction: column; min-height: 0; min-width: 0; }
#talk { flex: 1; overflow-y: auto; padding: 1.2rem; }
.turn { max-width: 46rem; margin: 0 auto 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.turn.user { background: var(--user); border-radius: .6rem; padding: .6rem .9rem; }
.turn.error { color: var(--mark); }
.hint { color: var(--soft); text-align: center; margin-top: 18vh; }
.tok { border-radius: 2px; }
.tok:hover, .tok:focus { background: color-mix(in srgb, var(--bar) 35%, transparent); outline: none; }
form { display: flex; gap: .6rem; padding: .8rem 1.2rem 1rem; max-width: 48.4rem; width: 100%; margin: 0 auto; }
textarea, input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; padding: .45rem .6rem; width: 100%; }
form textarea { resize: none; height: 3.2rem; }
button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; padding: .35rem .9rem; cursor: pointer; white-space: nowrap; }
button.go { background: var(--mark); border-color: var(--mark); color: var(--back); font-weight: 600; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
aside { border-left: 1px solid var(--line); background: var(--card); overflow-y: auto; padding: .9rem 1.1rem; font-size: .875rem; }
aside h2 { font-size: .75rem; letter-spacing: .05em; text-transform: uppercase; color: var(--soft); margin: 1.1rem 0 .5rem; }
aside h2:first-child { margin-top: 0; }
.field { display: grid; grid-template-columns: 1fr 6.2rem; align-items: center; gap: .5rem; margin-bottom: .4rem; }
.field input { padding: .2rem .4rem; text-align: right; }
.gauge { margin-bottom: .55rem; }
.gauge div:first-child { display: flex; justify-content: space-between; }
.gauge b { font-weight: 600; font-variant-numeric: tabular-nums; }
.track { height: .35rem; border-radius: 1rem; background: var(--line); overflow: hidden; }
.track i { display: block; height: 100%; width: 0; background: var(--bar); transition: width .4s; }
#spark { display: block; width: 100%; height: 2rem; margin-top: .2rem; border-bottom: 1px solid var(--line); }
#line { fill: none; stroke: var(--bar); stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
#tip { position: fixed; z-index: 9; display: none; background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .45rem .6rem; font-size: .8rem; box-shadow: 0 4px 18px #0004; pointer-events: none; min-width: 11rem; }
#tip div { display: flex; justify-content: space-between; gap: 1rem; font-variant-numeric: tabular-nums; }
#tip .is { color: var(--mark); font-weight: 600; }
#tip code { white-space: pre; }
@media (max-width: 760px) {
  body { grid-template: 3.5rem 1fr / minmax(0, 1fr); }
  header { grid-column: 1; padding: 0 .8rem; gap: .6rem; }
  aside { display: none; position: fixed; inset: 3.5rem 0 0; border: 0; z-index: 5; }
  body.side aside { display: block; }
  #talk { padding: .8rem; }
  form { padding: .6rem .8rem .8rem; }
}
@media (min-width: 761px) { #side { display: none; } header button#clear { margin-left: auto; } }
</style>
</head>
<body>
<header><h1>Tokamak</h1><span id="model"></span>
  <button id="clear" type="button">New chat</button><button id="side" type="button" style="margin-left:0" aria-expanded="false">Settings</button></header>
<main>
  <div id="talk" aria-live="polite"><p class="hint">Ask something. Point at a word of an answer, or go there with Tab and the arrow keys, to see what else it could have been.</p></div>
  <form id="ask"><textarea id="text" placeholder="Message" aria-label="Message" autofocus></textarea><button class="go" id="go">Send</button></form>
</main>
<aside>
  <h2>Now</h2>
  <div class="gauge"><div><span>Running</span><b id="running">–</b></div></div>
  <div class="gauge"><div><span>Waiting</span><b id="waiting">–</b></div></div>
  <div class="gauge"><div><span>KV cache in use</span><b id="kv">–</b></div><div class="track"><i id="kvbar"></i></div></div>
  <div class="gauge"><div><span>Kept for reuse</span><b id="kept">–</b></div><div class="track"><i id="keptbar"></i></div></div>
  <div class="gauge"><div><span>Tokens per second</span><b id="rate">–</b></div>
    <svg id="spark" viewBox="0 0 60 20" preserveAspectRatio="none" aria-hidden="true"><path id="line"/></svg></div>
  <div class="gauge"><div><span>Time to first token, mean</span><b id="ttft">–</b></div></div>
  <div class="gauge"><div><span>Time per token, mean</span><b id="tpot">–</b></div></div>
  <h2>Last answer</h2>
  <div class="gauge"><div><span>First token</span><b id="mine1">–</b></div></div>
  <div class="gauge"><div><span>Tokens per second</span><b id="mine2">–</b></div></div>
  <h2>Sampling</h2>
  <label class="field">Temperature <input id="temperature" type="number" min="0" step="0.1" value="0.7"></label>
  <label class="field">Top p <input id="top_p" type="number" min="0" max="1" step="0.05" value="1"></label>
  <label class="field">Top k <input id="top_k" type="number" min="0" step="1" value="0"></label>
  <label class="field">Min p <input id="min_p" type="number" min="0" max="1" step="0.01" value="0"></label>
  <label class="field">Repetition penalty <input id="repetition_penalty" type="number" min="0.1" step="0.05" value="1"></label>
  <label class="field">Max tokens <input id="max_tokens" type="number" min="1" step="1" value="512"></label>
  <label class="field">Seed <input id="seed" type="number" step="1" placeholder="random"></label>
  <h2>System message</h2>
  <textarea id="system" rows="3" aria-label="System message"></textarea>
  <h2>API key</h2>
  <input id="key" type="password" autocomplete="off" placeholder="none" aria-label="API key">
</aside>
<div id="tip" role="tooltip"></div>
<script>
'use strict';
const $ = id => document.getElementById(id);
let messages = [], running = null;
const headers = () => ({'Content-Type': 'application/json', ...($('key').value ? {Authorization: 'Bearer ' + $('key').value} : {})});

function add(kind, text) {
  document.querySelector('.hint')?.remove();
  const e = document.createElement('div');
  e.className = 'turn ' + kind;
  e.textContent = text;
  $('talk').append(e);
  follow(true);
  return e;
}
function follow(always) {
  const t = $('talk');
  if (always || t.scrollHeight - t.scrollTop - t.clientHeight < 120) t.scrollTop = t.scrollHeight;
}
// One span per token where the tokens are the text; a piece of several tokens may be one character.
function append(turn, text, tokens) {
  if (!tokens || tokens.map(t => t.token).join('') !== text) tokens = [{token: text, parts: tokens}];
  for (const t of tokens) {
    const s = document.createElement('span');
    s.className = 'tok';
    s.textContent = t.token;
    s.tokens = t.parts || (t.top_logprobs ? [t] : []);
    s.tabIndex = turn.children.length ? -1 : 0;  // arrow keys go on from the first
    turn.append(s);
  }
  follow(false);
}
async function say() {
  const text = $('text').value.trim();
  if (!text || running) return;
  $('text').value = '';
  add('user', text);
  messages.push({role: 'user', content: text});
  const turn = add('assistant', '');
  const body = {messages: [...($('system').value ? [{role: 'system', content: $('system').value}] : []), ...messages],
    stream: true, logprobs: true, top_logprobs: 5};
  for (const f of ['temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'max_tokens', 'seed'])
    if ($(f).value !== '') body[f] = Number($(f).value);
  running = new AbortController();
  $('go').textContent = 'Stop';
  const start = performance.now();
  let answer = '', first = 0, last = 0, count = 0;
  try {
    const r = await fetch('/v1/chat/completions', {method: 'POST', headers: headers(), body: JSON.stringify(body), signal: running.signal});
    if (!r.ok) throw new Error((await r.json()).error.message);
    const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = '';;) {
      const {value, done} = await reader.read();
      if (done) break;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
        const chunk = JSON.parse(line.slice(6));
        if (chunk.error) throw new Error(chunk.error.message);
        const c = chunk.choices[0];
        if (!c || !c.delta.content) continue;
        last = performance.now();
        first ||= last;
        count += c.logprobs?.content?.length || 1;
        answer += c.delta.content;
        append(turn, c.delta.content, c.logprobs?.content);
      }
    }
  } catch (e) {
    if (e.name !== 'AbortError') add('error', e.message);
  }
  if (first) {
    $('mine1').textContent = time((first - start) / 1e3);
    if (count > 1) $('mine2').textContent = ((count - 1) / (last - first) * 1e3).toFixed(1);
  }
  if (answer) messages.push({role: 'assistant', content: answer});
  else { turn.remove(); messages.pop(); }
  running = null;
  $('go').textContent = 'Send';
  $('text').focus();
}
$('ask').onsubmit = e => { e.preventDefault(); running ? running.abort() : say(); };
$('text').onkeydown = e => {
  if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); say(); }
};
addEventListener('keydown', e => { if (e.key === 'Escape' && running) running.abort(); });
const hint = document.querySelector('.hint');
$('clear').onclick = () => { running?.abort(); messages = []; $('talk').replaceChildren(hint); $('text').focus(); };
$('side').onclick = () => $('side').setAttribute('aria-expanded', document.body.classList.toggle('side'));

function show(span) {
  const tip = $('tip');
  tip.replaceChildren();
  for (const t of span.tokens || []) {
    const all = t.top_logprobs.some(o => o.token === t.token && o.logprob === t.logprob) ? t.top_logprobs : [t, ...t.top_logprobs];
    for (const o of all) {
      const row = document.createElement('div'), name = document.createElement('code');
      name.textContent = JSON.stringify(o.token).slice(1, -1);
      row.append(name, (100 * Math.exp(o.logprob)).toFixed(1) + ' %');
      if (o.token === t.token) row.className = 'is';
      tip.append(row);
    }
  }
  if (!tip.children.length) return;
  tip.style.display = 'block';
  const at = span.getBoundingClientRect();
  tip.style.left = Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8)) + 'px';
  tip.style.top = (at.bottom + tip.offsetHeight + 10 > innerHeight ? at.top - tip.offsetHeight - 6 : at.bottom + 6) + 'px';
}
$('talk').onmouseover = e => { if (e.target.classList.contains('tok')) show(e.target); else $('tip').style.display = 'none'; };
$('talk').addEventListener('focusin', e => { if (e.target.classList.contains('tok')) show(e.target); });
$('talk').addEventListener('focusout', () => { $('tip').style.display = 'none'; });
$('talk').onkeydown = e => {
  const from = e.target;
  if (!from.classList.contains('tok')) return;
  const to = {ArrowRight: from.nextSibling, ArrowLeft: from.previousSibling,
    Home: from.parentNode.firstChild, End: from.parentNode.lastChild}[e.key];
  if (!to) return;
  e.preventDefault();
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
};
$('talk').onmouseleave = $('talk').onscroll = () => { $('tip').style.display = 'none'; };

let before = null;
const time = s => s < 1 ? (1e3 * s).toFixed(1) + ' ms' : s.toFixed(2) + ' s';
const rates = [];  // tokens per second, of the last minute
async function look() {
  try {
    const text = await (await fetch('/metrics')).text(), now = performance.now();
    const get = name => Number(text.match(new RegExp('^tokamak:' + name + '\\{[^}]*\\} (\\S+)', 'm'))?.[1] ?? NaN);
    const percent = (id, part) => { $(id).textContent = (100 * part).toFixed(1) + ' %'; $(id + 'bar').style.width = 100 * part + '%'; };
    const mean = name => { const n = get(name + '_count'); return n > 0 ? time(get(name + '_sum') / n) : '–'; };
    $('running').textContent = get('num_requests_running');
    $('waiting').textContent = get('num_requests_waiting');
    percent('kv', get('kv_cache_usage_perc'));
    percent('kept', get('kv_cache_cached_perc'));
    const tokens = get('generation_tokens_total');
    if (before) {
      rates.push(1e3 * (tokens - before.tokens) / (now - before.now));
      if (rates.length > 61) rates.shift();
      $('rate').textContent = rates.at(-1).toFixed(0);
      const most = Math.max(1, ...rates), x = i => 60 - (rates.length - 1 - i), y = r => 19 - 18 * r / most;
      $('line').setAttribute('d', 'M' + rates.map((r, i) => x(i) + ' ' + y(r).toFixed(2)).join('L'));
    }
    before = {tokens, now};
    $('ttft').textContent = mean('time_to_first_token_seconds');
    $('tpot').textContent = mean('time_per_output_token_seconds');
  } catch { $('running').textContent = 'no answer'; }
  setTimeout(look, document.hidden ? 5000 : 1000);
}
look();
async function name() {
  try {
    const r = await fetch('/v1/models', {headers: headers()});
    $('model').textContent = r.ok ? (await r.json()).data[0].id : 'an API key is needed';
  } catch { $('model').textContent = 'no answer'; }
}
$('key').onchange = name;
name();
</script>
</body>
</html>
)html";

}  // namespace

std::string_view page_html() { return kPage; }

}  // namespace tokamak::serve
