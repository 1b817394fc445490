// The parsed template.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/operators.h"
#include "text/jinja/value.h"

namespace tokamak::jinja {

using NameId = int;

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keywords;
  ExprPtr star, double_star;  // *args, **kwargs
};

enum class ExprKind : uint8_t {
  kConst,
  kName,
  kNamespaceRef,
  kTuple,
  kList,
  kDict,
  kBinary,
  kNegate,
  kPositive,
  kNot,
  kAnd,
  kOr,
  kCompare,
  kConcat,
  kConditional,
  kFilter,
  kTest,
  kAttribute,
  kItem,
  kSlice,
  kCall
};

// Children by kind: kDict key, value, key …; kConditional condition, then, else (may be absent);
// kSlice sequence, start, stop, step (null where left out); kFilter, kTest, kCall the operand
// (null for the first filter of a block), arguments in `args`.
struct Expr {
  ExprKind kind;
  BinaryOp op = BinaryOp::kAdd;
  int line = 0;
  int height = 1;  // of the tree below
  NameId name = -1;
  std::string text;  // attribute, filter or test name
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<CompareOp> compares;
  std::unique_ptr<CallArgs> args;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

struct Signature {
  std::vector<NameId> names;
  std::vector<ExprPtr> defaults;  // of the last names
};

enum class StmtKind : uint8_t {
  kData,
  kPrint,
  kFor,
  kIf,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::string data;              // kData
  std::vector<ExprPtr> exprs;    // kPrint: values; kIf: conditions; kWith: values
  std::vector<ExprPtr> targets;  // kFor, kSet, kSetBlock: one; kWith: one for each value
  ExprPtr expr;  // kFor: sequence; kSet: value; kSetBlock, kFilterBlock: filters; kCallBlock: call
  ExprPtr test;  // kFor: filter
  std::vector<Block> bodies;  // kIf: one for each condition, maybe one more; others: the body
  Block otherwise;            // kFor: else
  bool recursive = false;
  // kMacro, kCallBlock
  NameId name = -1;
  Signature signature;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

struct Program {
  Heap heap;  // of the constants; first, so that it outlives them
  std::vector<std::string> names;
  Block body;
};

}  // namespace tokamak::jinja
