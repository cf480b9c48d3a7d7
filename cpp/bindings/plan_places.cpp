#include "bindings/plan_places.h"

#include "bindings/conv2d_arguments.h"
#include "runtime/dispatch.h"

namespace rushlight::bindings {
namespace {

using Kind = runtime::Place::Kind;

constexpr const char* op = "plan";

PlanValue plan_value(py::handle object) {
  if (!py::isinstance<py::tuple>(object) || py::len(object) != 2) {
    raise_type("plan: a value must be a pair (shape, dtype)");
  }
  const auto pair = py::reinterpret_borrow<py::tuple>(object);
  const Dims dims = integers(op, "shape", pair[0]);
  const DType dtype = dtype_argument(op, "dtype", pair[1]);
  const int64_t count = element_count(op, dims.data(), static_cast<int>(dims.size()));
  return {dims, dtype, checked_mul(op, count, item_size(dtype))};
}

std::vector<PlanValue> plan_values(py::handle objects) {
  std::vector<PlanValue> values;
  for (const py::handle each : py::reinterpret_borrow<py::iterable>(objects)) {
    values.push_back(plan_value(each));
  }
  return values;
}

int64_t checked_arena(py::handle object) {
  const int64_t bytes = integer(op, "arena_bytes", object);
  if (bytes < 0)
    raise_value("plan: arena_bytes must not be negative, got " + std::to_string(bytes));
  return bytes;
}

}  // namespace

PlanObject::PlanObject(py::handle arena_bytes, py::handle input_values, py::handle output_values)
    : plan(checked_arena(arena_bytes)),
      inputs(plan_values(input_values)),
      outputs(plan_values(output_values)),
      table_(&runtime::table()),
      has_winograd_(is_winograd_enabled()) {}

bool PlanObject::is_current() const {
  return table_ == &runtime::table() && has_winograd_ == is_winograd_enabled();
}

runtime::Place PlanObject::source(const char* step, const char* name, py::handle object,
                                  int64_t bytes) {
  if (py::isinstance<py::tuple>(object)) return inside(step, name, object, bytes);
  const Array array(step, name, object);
  if (array.size() * item_size(array.dtype()) < bytes || array.is_copy()) {
    raise_value(std::string(step) + ": " + name + " must be contiguous and hold " +
                std::to_string(bytes) + " bytes, but has shape " + array.shape_text());
  }
  kept_.push_back(py::reinterpret_borrow<py::object>(object));
  return {Kind::constant, 0, 0, array.data<void>()};
}

runtime::Place PlanObject::optional_source(const char* step, const char* name, py::handle object,
                                           int64_t bytes) {
  return object.is_none() ? runtime::Place{} : source(step, name, object, bytes);
}

runtime::Place PlanObject::target(const char* step, const char* name, py::handle object,
                                  int64_t bytes) {
  if (py::isinstance<py::tuple>(object)) {
    const runtime::Place place = inside(step, name, object, bytes);
    if (place.kind != Kind::input) return place;
  }
  raise_type(std::string(step) + ": " + name + " must be a place in the arena or in a result");
}

runtime::Place PlanObject::inside(const char* step, const char* name, py::handle object,
                                  int64_t bytes) const {
  const Dims parts = integers(step, name, object);
  if (parts.size() != 3)
    raise_type(std::string(step) + ": " + name + " must be (kind, index, offset)");
  const auto size_of = [&](const std::vector<PlanValue>& values) {
    const bool known = parts[1] >= 0 && parts[1] < static_cast<int64_t>(values.size());
    return known ? values[static_cast<size_t>(parts[1])].bytes : -1;
  };
  const auto kind = static_cast<Kind>(parts[0]);
  int64_t room = -1;
  if (kind == Kind::arena) room = plan.arena_bytes();
  if (kind == Kind::input) room = size_of(inputs);
  if (kind == Kind::output) room = size_of(outputs);
  if (parts[2] < 0 || bytes < 0 || room < 0 || parts[2] > room || bytes > room - parts[2]) {
    raise_value(std::string(step) + ": " + name + " needs " + std::to_string(bytes) +
                " bytes at (kind, index, offset) = " + shape_text(parts) + ", where there are " +
                std::to_string(room));
  }
  return {kind, parts[1], parts[2], nullptr};
}

runtime::Place PlanObject::constant(const char* step, const char* name, py::handle object,
                                    DType dtype, int64_t count) {
  if (object.is_none()) return {};
  const Array array(step, name, object, dtype);
  if (array.size() != count || array.is_copy()) {
    raise_value(std::string(step) + ": " + name + " must be contiguous and hold " +
                std::to_string(count) + " elements, but has shape " + array.shape_text());
  }
  kept_.push_back(py::reinterpret_borrow<py::object>(object));
  return {Kind::constant, 0, 0, array.data<void>()};
}

}  // namespace rushlight::bindings
