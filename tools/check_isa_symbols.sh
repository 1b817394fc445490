#!/bin/bash
# Object files compiled for a higher ISA level (NAME_avx2.cc … NAME_amx.cc) must not define weak
# symbols: the linker keeps one copy of such a symbol for the whole program, and if it takes the
# AVX-512 one, plain code runs AVX-512. Inline functions and templates there belong in an anonymous
# namespace; classes with vtables and standard containers belong in files for every machine.
# Usage: tools/check_isa_symbols.sh BUILD_DIR
set -euo pipefail
build=${1:?usage: tools/check_isa_symbols.sh BUILD_DIR}

bad=0 files=0
while IFS= read -r object; do
  files=$((files + 1))
  # W V: weak; u: unique, one copy for the whole process.
  leaks=$(nm --defined-only -C "$object" | awk '$2 ~ /^[WwVvu]$/') || true
  if [ -n "$leaks" ]; then
    echo "$object defines symbols that leak its ISA level:"
    echo "$leaks" | sed 's/^/  /' | head -20
    bad=1
  fi
done < <(find "$build/src" -name '*.o' | grep -E '_(avx2|avx512|avx512_vnni|avx512_bf16|amx)\.cc\.o$')

if [ "$files" = 0 ]; then
  echo "no object file of a higher ISA level under $build/src: build first"
  exit 1
fi
[ "$bad" = 0 ] && echo "$files object files of higher ISA levels: no leaking symbols"
exit "$bad"
