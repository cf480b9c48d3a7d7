#include <pybind11/pybind11.h>

#include "bindings/families.h"
#include "runtime/buffer_pool.h"
#include "runtime/dispatch.h"
#include "runtime/thread_pool.h"
#include "runtime/weight_cache.h"

PYBIND11_MODULE(_core, m) {
  namespace bindings = rushlight::bindings;
  namespace runtime = rushlight::runtime;
  m.doc() = "C++ kernels of Rushlight.";
  // What these throw becomes an ImportError.
  runtime::choose_isa_at_import();
  runtime::configure_threads_at_import();
  runtime::configure_pool_at_import();
  runtime::configure_weight_cache_at_import();
  bindings::bind_weight_cache(m);  // first: others take what it defines
  bindings::bind_blocked(m);
  bindings::bind_arithmetic(m);
  bindings::bind_batch_norm(m);
  bindings::bind_config(m);
  bindings::bind_conv2d(m);
  bindings::bind_linear(m);
  bindings::bind_loss(m);
  bindings::bind_matmul(m);
  bindings::bind_optim(m);
  bindings::bind_plan(m);
  bindings::bind_pointwise(m);
  bindings::bind_pooling(m);
  bindings::bind_probe(m);
  bindings::bind_relu(m);
  bindings::bind_summation(m);
}
