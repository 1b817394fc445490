// Users' ops from plug-in libraries (include/tokamak/plugin.h). A node of Op::plugin carries all
// that the compiler needs in its attributes: library, version, op, the user's own (as text, their
// names behind "a."), the outputs' types and the cost. Only what runs it needs the library.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>

#include "ops/op.h"
#include "tokamak/plugin.h"

namespace tokamak {

class PluginLibrary {
 public:
  // Error: names the library, and what it lacks or what is wrong with it. It stays loaded.
  static std::shared_ptr<const PluginLibrary> load(const std::string& path);

  std::string_view name() const { return plugin_->name; }
  std::string_view version() const { return plugin_->version; }
  const std::string& path() const { return path_; }
  std::span<const tokamak_op* const> ops() const { return {plugin_->ops, plugin_->op_count}; }
  // Null when there is none of this name.
  const tokamak_op* find(std::string_view op) const;

 private:
  PluginLibrary(std::string path, const tokamak_plugin* plugin)
      : path_(std::move(path)), plugin_(plugin) {}
  const std::string path_;
  const tokamak_plugin* const plugin_;
};

using PluginLibraries = std::vector<std::shared_ptr<const PluginLibrary>>;
using PluginAttributes = std::map<std::string, std::string>;

// An op with its attributes parsed.
class PluginOp {
 public:
  // Error: what the op says about the attributes.
  PluginOp(std::shared_ptr<const PluginLibrary> library, const tokamak_op& op,
           const PluginAttributes& attributes);
  ~PluginOp();
  PluginOp(const PluginOp&) = delete;

  const PluginLibrary& library() const { return *library_; }
  const tokamak_op& functions() const { return op_; }
  const void* object() const { return object_; }
  // Error: what the op says about its operands.
  std::vector<ValueType> infer(const std::vector<ValueType>& inputs) const;
  size_t scratch_bytes(const std::vector<ValueType>& inputs, int64_t tokens, int64_t sequences,
                       int workers) const;
  // "library.op", for messages and names of tactics.
  std::string label() const;

 private:
  const std::shared_ptr<const PluginLibrary> library_;
  const tokamak_op& op_;
  void* object_ = nullptr;
};

// The attributes of a node. Error: as PluginOp's.
Attrs plugin_attrs(const std::shared_ptr<const PluginLibrary>& library, const tokamak_op& op,
                   const PluginAttributes& attributes, const std::vector<ValueType>& inputs);
PluginAttributes plugin_attributes(const Attrs& attrs);  // the user's own, back
// Of the op among the libraries; Error lists what there is.
std::pair<std::shared_ptr<const PluginLibrary>, const tokamak_op*> find_plugin_op(
    const PluginLibraries& libraries, std::string_view op);

// What a node's attributes say.
std::vector<ValueType> plugin_outputs(const Attrs& attrs);
OpCost plugin_cost(const Attrs& attrs, int64_t tokens);

int32_t plugin_dtype(DType t);  // TOKAMAK_F32 …; Error for others

}  // namespace tokamak
