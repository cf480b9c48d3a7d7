#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

// A list with an entry per parameter, or None where the settings keep no such state.
struct Column {
  const char* name;
  py::object entries;
};

// The arrays of a step over the parameters of a group, checked: lists of one length, arrays of one
// type, each like its parameter.
class Operands {
 public:
  Operands(const char* op, const py::list& params, const py::list& grads,
           const std::vector<Column>& states)
      : op_(op) {
    params_ = take({"param", params}, params.size(), Access::write);
    grads_ = take({"grad", grads}, params.size(), Access::read);
    for (size_t s = 0; s < states.size(); ++s) {
      if (!states[s].entries.is_none()) {
        states_[s] = take(states[s], params.size(), Access::write);
      }
    }
  }

  size_t count() const { return params_.size(); }
  DType dtype() const { return params_.empty() ? DType::f32 : params_.front().dtype(); }
  int64_t elements() const {
    int64_t total = 0;
    for (const Array& param : params_) total += param.size();
    return total;
  }

  // Whether some memory is written through two arrays, a parameter given twice, say. Threads must
  // not meet there, and the order counts.
  bool overlap() const {
    std::vector<std::pair<const char*, const char*>> ranges;
    add_ranges(params_, ranges);
    for (const auto& state : states_) add_ranges(state, ranges);
    std::sort(ranges.begin(), ranges.end());
    const auto meets = [](const auto& a, const auto& b) { return b.first < a.second; };
    return std::adjacent_find(ranges.begin(), ranges.end(), meets) != ranges.end();
  }

  template <class T>
  std::vector<OptimItem<T>> items() const {
    std::vector<OptimItem<T>> result(count());
    int64_t chunks = 0;
    for (size_t i = 0; i < count(); ++i) {
      result[i] = {};
      result[i].n = params_[i].size();
      result[i].first_chunk = chunks;
      result[i].grad = grads_[i].template data<T>();
      result[i].param = params_[i].template mutable_data<T>();
      for (size_t s = 0; s < states_.size(); ++s) {
        if (!states_[s].empty()) result[i].state[s] = states_[s][i].template mutable_data<T>();
      }
      chunks += chunks_of(result[i].n);
    }
    return result;
  }

  static int64_t chunks_of(int64_t n) { return (n + kOptimChunk - 1) / kOptimChunk; }

 private:
  using Arrays = std::deque<Array>;  // an Array does not move

  Arrays take(const Column& column, size_t expected, Access access) const {
    const py::list entries = column.entries;
    if (entries.size() != expected) {
      raise_value(std::string(op_) + ": expected a " + column.name + " for each of " +
                  std::to_string(expected) + " parameters, got " + std::to_string(entries.size()));
    }
    Arrays arrays;
    for (size_t i = 0; i < expected; ++i) {
      const Array& array = arrays.emplace_back(op_, column.name, entries[i], access);
      const Array& param = params_.empty() ? arrays[0] : params_[i];
      check_same_dtype(op_, param, array);
      if (&param != &arrays[0]) check_shape(op_, array, param.dims(), "as param");
    }
    return arrays;
  }

  static void add_ranges(const Arrays& arrays,
                         std::vector<std::pair<const char*, const char*>>& ranges) {
    for (const Array& array : arrays) {
      const char* begin = array.data<char>();
      const int64_t bytes = array.size() * item_size(array.dtype());
      if (bytes > 0) ranges.emplace_back(begin, begin + bytes);
    }
  }

  const char* op_;
  Arrays params_, grads_;
  std::array<Arrays, 3> states_;
};

// Calls step(kernels, run, items) on all parameters at once, or one by one where they share memory;
// prepare(item, index) sets what is a parameter's own.
template <class Prepare, class Step>
void run_step(const Operands& operands, const Prepare& prepare, const Step& step) {
  if (operands.count() == 0) return;
  const bool one_by_one = operands.overlap();
  with_type(operands.dtype(), [&](auto t) {
    using T = decltype(t);
    std::vector<OptimItem<T>> items = operands.items<T>();
    for (size_t i = 0; i < items.size(); ++i) prepare(items[i], i);
    const OptimKernels<T>& kernels = *runtime::kernels<T>().optim;
    const KernelScope scope(2 * operands.elements());
    if (!one_by_one) {
      const OptimItem<T>& last = items.back();
      const auto count = static_cast<int64_t>(items.size());
      const int64_t chunks = last.first_chunk + Operands::chunks_of(last.n);
      step(kernels, scope.run(), OptimItems<T>{items.data(), count, chunks});
      return;
    }
    for (OptimItem<T>& item : items) {
      item.first_chunk = 0;
      step(kernels, scope.run(), OptimItems<T>{&item, 1, Operands::chunks_of(item.n)});
    }
  });
}

// The number of steps of each parameter with this one, from counters that are moved on by
// advance().
class Counters {
 public:
  Counters(const char* op, const py::list& steps, size_t expected) {
    if (steps.size() != expected) {
      raise_value(std::string(op) + ": expected a step for each of " + std::to_string(expected) +
                  " parameters, got " + std::to_string(steps.size()));
    }
    for (const py::handle step : steps) {
      const Array& array = arrays_.emplace_back(op, "step", step, Access::write);
      if (array.size() != 1) {
        raise_value(std::string(op) + ": step must be one number, got shape " + array.shape_text());
      }
      values_.push_back(with_type(array.dtype(), [&](auto t) -> double {
        return static_cast<double>(*array.data<decltype(t)>()) + 1;
      }));
    }
  }

  double operator[](size_t index) const { return values_[index]; }

  void advance() {
    for (size_t i = 0; i < values_.size(); ++i) {
      with_type(arrays_[i].dtype(), [&](auto t) {
        *arrays_[i].mutable_data<decltype(t)>() = static_cast<decltype(t)>(values_[i]);
      });
    }
  }

 private:
  std::deque<Array> arrays_;
  std::vector<double> values_;
};

DescentSettings descent(const char* op, py::handle weight_decay, bool maximize) {
  return {number(op, "weight_decay", weight_decay), maximize};
}

void sgd_step(const py::list& params, const py::list& grads, const py::object& momentum_buffers,
              const py::list& fresh, py::handle lr, py::handle momentum, py::handle dampening,
              py::handle weight_decay, bool nesterov, bool maximize) {
  const char* op = "sgd_step";
  const Operands operands(op, params, grads, {{"momentum_buffer", momentum_buffers}});
  if (fresh.size() != operands.count()) {
    raise_value(std::string(op) + ": expected a fresh for each of " +
                std::to_string(operands.count()) + " parameters, got " +
                std::to_string(fresh.size()));
  }
  const SgdSettings settings{descent(op, weight_decay, maximize), number(op, "lr", lr),
                             number(op, "momentum", momentum), number(op, "dampening", dampening),
                             nesterov};
  run_step(
      operands, [&](auto& item, size_t index) { item.fresh = flag(op, "fresh", fresh[index]); },
      [&](const auto& kernels, const Run& run, const auto& items) {
        kernels.sgd(run, items, settings);
      });
}

void adam_step(const py::list& params, const py::list& grads, const py::list& exp_avgs,
               const py::list& exp_avg_sqs, const py::object& max_exp_avg_sqs,
               const py::list& steps, py::handle lr_object, py::handle beta1_object,
               py::handle beta2_object, py::handle eps, py::handle weight_decay, bool decoupled,
               bool maximize) {
  const char* op = "adam_step";
  const Operands operands(
      op, params, grads,
      {{"exp_avg", exp_avgs}, {"exp_avg_sq", exp_avg_sqs}, {"max_exp_avg_sq", max_exp_avg_sqs}});
  Counters counters(op, steps, operands.count());
  const double lr = number(op, "lr", lr_object);
  const double beta1 = number(op, "beta1", beta1_object);
  const double beta2 = number(op, "beta2", beta2_object);
  AdamSettings settings{descent(op, weight_decay, maximize), 1, beta1, beta2,
                        number(op, "eps", eps)};
  if (decoupled) {
    settings.shrink = 1 - lr * settings.descent.weight_decay;
    settings.descent.weight_decay = 0;
  }
  counters.advance();
  run_step(
      operands,
      [&](auto& item, size_t index) {
        item.rate = lr / (1 - std::pow(beta1, counters[index]));
        item.root = std::sqrt(1 - std::pow(beta2, counters[index]));
      },
      [&](const auto& kernels, const Run& run, const auto& items) {
        kernels.adam(run, items, settings);
      });
}

void rmsprop_step(const py::list& params, const py::list& grads, const py::list& square_avgs,
                  const py::object& grad_avgs, const py::object& momentum_buffers,
                  const py::list& steps, py::handle lr, py::handle alpha, py::handle eps,
                  py::handle weight_decay, py::handle momentum, bool maximize) {
  const char* op = "rmsprop_step";
  const Operands operands(op, params, grads,
                          {{"square_avg", square_avgs},
                           {"grad_avg", grad_avgs},
                           {"momentum_buffer", momentum_buffers}});
  Counters counters(op, steps, operands.count());
  const RmspropSettings settings{descent(op, weight_decay, maximize), number(op, "lr", lr),
                                 number(op, "alpha", alpha), number(op, "eps", eps),
                                 number(op, "momentum", momentum)};
  counters.advance();
  run_step(
      operands, [](auto&, size_t) {},
      [&](const auto& kernels, const Run& run, const auto& items) {
        kernels.rmsprop(run, items, settings);
      });
}

void adagrad_step(const py::list& params, const py::list& grads, const py::list& sums,
                  const py::list& steps, py::handle lr_object, py::handle lr_decay_object,
                  py::handle eps, py::handle weight_decay, bool maximize) {
  const char* op = "adagrad_step";
  const Operands operands(op, params, grads, {{"sum", sums}});
  Counters counters(op, steps, operands.count());
  const double lr = number(op, "lr", lr_object);
  const double lr_decay = number(op, "lr_decay", lr_decay_object);
  const AdagradSettings settings{descent(op, weight_decay, maximize), number(op, "eps", eps)};
  counters.advance();
  run_step(
      operands,
      [&](auto& item, size_t index) { item.rate = lr / (1 + (counters[index] - 1) * lr_decay); },
      [&](const auto& kernels, const Run& run, const auto& items) {
        kernels.adagrad(run, items, settings);
      });
}

void adadelta_step(const py::list& params, const py::list& grads, const py::list& square_avgs,
                   const py::list& acc_deltas, const py::list& steps, py::handle lr, py::handle rho,
                   py::handle eps, py::handle weight_decay, bool maximize) {
  const char* op = "adadelta_step";
  const Operands operands(op, params, grads,
                          {{"square_avg", square_avgs}, {"acc_delta", acc_deltas}});
  Counters counters(op, steps, operands.count());
  const AdadeltaSettings settings{descent(op, weight_decay, maximize), number(op, "lr", lr),
                                  number(op, "rho", rho), number(op, "eps", eps)};
  counters.advance();
  run_step(
      operands, [](auto&, size_t) {},
      [&](const auto& kernels, const Run& run, const auto& items) {
        kernels.adadelta(run, items, settings);
      });
}

}  // namespace

void bind_optim(py::module_& m) {
  m.def("sgd_step", &sgd_step, py::arg("params"), py::arg("grads"), py::arg("momentum_buffers"),
        py::arg("fresh"), py::arg("lr"), py::arg("momentum"), py::arg("dampening"),
        py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"));
  m.def("adam_step", &adam_step, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_avg_sqs"), py::arg("max_exp_avg_sqs"), py::arg("steps"), py::arg("lr"),
        py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"),
        py::arg("decoupled"), py::arg("maximize"));
  m.def("rmsprop_step", &rmsprop_step, py::arg("params"), py::arg("grads"), py::arg("square_avgs"),
        py::arg("grad_avgs"), py::arg("momentum_buffers"), py::arg("steps"), py::arg("lr"),
        py::arg("alpha"), py::arg("eps"), py::arg("weight_decay"), py::arg("momentum"),
        py::arg("maximize"));
  m.def("adagrad_step", &adagrad_step, py::arg("params"), py::arg("grads"), py::arg("sums"),
        py::arg("steps"), py::arg("lr"), py::arg("lr_decay"), py::arg("eps"),
        py::arg("weight_decay"), py::arg("maximize"));
  m.def("adadelta_step", &adadelta_step, py::arg("params"), py::arg("grads"),
        py::arg("square_avgs"), py::arg("acc_deltas"), py::arg("steps"), py::arg("lr"),
        py::arg("rho"), py::arg("eps"), py::arg("weight_decay"), py::arg("maximize"));
}

}  // namespace rushlight::bindings
