// How a model writes its calls of tools, as its chat template shows.
#pragma once
#include <string>
#include <vector>

#include "tokamak/guide.h"

namespace tokamak::serve {

struct Tool {
  std::string name, description;
  std::string parameters;  // JSON schema, as the client wrote it
};

struct ToolFormat {
  std::string open, close;              // around a call, or around all of them; close may be empty
  bool list = false;                    // a JSON array of calls stands behind `open`
  bool bare = false;                    // an output may begin with a call, without `open`
  std::string arguments = "arguments";  // the key of a call's arguments
  size_t id_length = 0;                 // of calls' ids; 0: "call_" and 24 characters
  bool in_template = true;  // the template shows tools to the model; else the prompt must

  // Hermes' and Qwen's <tool_call>, Mistral's [TOOL_CALLS], Granite's <|tool_call|>, Llama's JSON;
  // Hermes' for templates that know no tools.
  static ToolFormat of(const std::string& chat_template);
  // What stands before the first call when there must be one.
  std::string begin() const;
  // What follows begin(): one to `most` calls of these tools, with arguments that satisfy their
  // parameters.
  GuideSpec calls(const std::vector<Tool>& tools, int64_t most) const;
  // One call as the model is to write it.
  std::string example(const std::string& name, const std::string& arguments) const;
  // For templates that know no tools: what a system message says about them.
  std::string instructions(const std::vector<Tool>& tools) const;

 private:
  std::string head(const std::string& name) const;
};

}  // namespace tokamak::serve
