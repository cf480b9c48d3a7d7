// The steps that a plan is made of: one class for each kind of kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/table.h"
#include "runtime/plan.h"
#include "runtime/weight_cache.h"

namespace rushlight::runtime {

// An epilogue whose arrays are found when the step runs.
template <class T>
struct EpiloguePlaces {
  Place scale, shift, residual;
  Activation activation = Activation::none;
  T low = 0, high = 0;
  InPlace<T> function = {};

  Epilogue<T> get(const Memory& memory) const {
    return {memory.at<const T>(scale),
            memory.at<const T>(shift),
            memory.at<const T>(residual),
            activation,
            low,
            high,
            function};
  }
};

// conv2d and linear: a product with a weight, prepared where the kernel has a form for that.
template <class T, class Kernels, class Shape>
class ProductStep : public Step {
 public:
  ProductStep(int64_t work, const Kernels* kernels, const Shape& shape, Place src, Place weight,
              std::shared_ptr<WeightBlock> prepared, const EpiloguePlaces<T>& epilogue, Place dst)
      : Step(work),
        kernels_(kernels),
        shape_(shape),
        src_(src),
        weight_(weight),
        prepared_(std::move(prepared)),
        epilogue_(epilogue),
        dst_(dst) {}

  int64_t workspace(int slots) const override {
    return kernels_->forward_workspace(shape_, prepared_ != nullptr, slots);
  }
  void run(const Memory& memory, const Run& run) const override {
    const T* prepared = prepared_ == nullptr ? nullptr : static_cast<const T*>(prepared_->data());
    kernels_->forward(run, shape_, memory.at<const T>(src_), memory.at<const T>(weight_), prepared,
                      epilogue_.get(memory), memory.at<T>(dst_));
  }

 private:
  const Kernels* kernels_;
  Shape shape_;
  Place src_, weight_;
  std::shared_ptr<WeightBlock> prepared_;
  EpiloguePlaces<T> epilogue_;
  Place dst_;
};

template <class T>
class AffineStep : public Step {
 public:
  AffineStep(int64_t work, const AffineKernels<T>* kernels, const AffineShape& shape, Place src,
             const EpiloguePlaces<T>& epilogue, Place dst)
      : Step(work), kernels_(kernels), shape_(shape), src_(src), epilogue_(epilogue), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernels_->forward(run, shape_, memory.at<const T>(src_), epilogue_.get(memory),
                      memory.at<T>(dst_));
  }

 private:
  const AffineKernels<T>* kernels_;
  AffineShape shape_;
  Place src_;
  EpiloguePlaces<T> epilogue_;
  Place dst_;
};

template <class T>
class PointwiseStep : public Step {
 public:
  PointwiseStep(int64_t work, const PointwiseFunction<T>& function, int64_t n, double a, double b,
                Place src, Place dst)
      : Step(work), function_(function), n_(n), a_(a), b_(b), src_(src), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    function_.forward(run, n_, a_, b_, memory.at<const T>(src_), memory.at<T>(dst_));
  }

 private:
  PointwiseFunction<T> function_;
  int64_t n_;
  double a_, b_;
  Place src_, dst_;
};

template <class T>
class BinaryStep : public Step {
 public:
  using Kernel = typename ArithmeticKernels<T>::Binary;

  BinaryStep(int64_t work, Kernel kernel, const BroadcastShape& shape, Place a, Place b, Place dst)
      : Step(work), kernel_(kernel), shape_(shape), a_(a), b_(b), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernel_(run, shape_, memory.at<const T>(a_), memory.at<const T>(b_), memory.at<T>(dst_));
  }

 private:
  Kernel kernel_;
  BroadcastShape shape_;
  Place a_, b_, dst_;
};

template <class T>
class MaxPoolStep : public Step {
 public:
  MaxPoolStep(int64_t work, const PoolingKernels<T>* kernels, const PoolShape& shape, Place src,
              Place dst)
      : Step(work), kernels_(kernels), shape_(shape), src_(src), dst_(dst) {}

  // The kernel also says where each maximum came from.
  int64_t workspace(int) const override {
    return shape_.planes * shape_.oh * shape_.ow * int64_t{sizeof(int64_t)};
  }
  void run(const Memory& memory, const Run& run) const override {
    kernels_->max(run, shape_, memory.at<const T>(src_), memory.at<T>(dst_),
                  static_cast<int64_t*>(run.workspace));
  }

 private:
  const PoolingKernels<T>* kernels_;
  PoolShape shape_;
  Place src_, dst_;
};

template <class T>
class AvgPoolStep : public Step {
 public:
  using Kernel = void (*)(const Run&, const PoolShape&, const T*, T*);

  AvgPoolStep(int64_t work, Kernel kernel, const PoolShape& shape, Place src, Place dst)
      : Step(work), kernel_(kernel), shape_(shape), src_(src), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernel_(run, shape_, memory.at<const T>(src_), memory.at<T>(dst_));
  }

 private:
  Kernel kernel_;
  PoolShape shape_;
  Place src_, dst_;
};

template <class T>
class LogSoftmaxStep : public Step {
 public:
  LogSoftmaxStep(int64_t work, const LogSoftmaxKernels<T>* kernels, const SoftmaxShape& shape,
                 Place src, Place dst)
      : Step(work), kernels_(kernels), shape_(shape), src_(src), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernels_->forward(run, shape_, memory.at<const T>(src_), memory.at<T>(dst_));
  }

 private:
  const LogSoftmaxKernels<T>* kernels_;
  SoftmaxShape shape_;
  Place src_, dst_;
};

template <class T>
class MatmulStep : public Step {
 public:
  MatmulStep(int64_t work, const MatmulKernels<T>* kernels, const MatmulShape& shape, Place a,
             Place b, Place dst)
      : Step(work), kernels_(kernels), shape_(shape), a_(a), b_(b), dst_(dst) {}

  int64_t workspace(int slots) const override { return kernels_->workspace(shape_, slots); }
  void run(const Memory& memory, const Run& run) const override {
    kernels_->forward(run, shape_, memory.at<const T>(a_), memory.at<const T>(b_),
                      memory.at<T>(dst_));
  }

 private:
  const MatmulKernels<T>* kernels_;
  MatmulShape shape_;
  Place a_, b_, dst_;
};

// dst[i * dst_steps] = src[i * src_steps]; steps in elements, of any sign, 0 to repeat in src.
struct CopyShape {
  static constexpr int max_dims = 8;

  int ndim;  // at least 1
  int64_t size[max_dims];
  int64_t src_step[max_dims];
  int64_t dst_step[max_dims];
};

template <class T>
class CopyStep : public Step {
 public:
  CopyStep(int64_t work, const CopyShape& shape, Place src, Place dst)
      : Step(work), shape_(shape), src_(src), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    const Work work{&shape_, memory.at<const T>(src_), memory.at<T>(dst_)};
    const ParallelBody body = [](void* context, int64_t chunk, int) {
      const Work& w = *static_cast<const Work*>(context);
      copy(*w.shape, 1, w.src + chunk * w.shape->src_step[0], w.dst + chunk * w.shape->dst_step[0]);
    };
    if (run.slots == 1 || shape_.size[0] == 1) {
      copy(shape_, 0, work.src, work.dst);
    } else {
      parallel_for(shape_.size[0], run.slots, body, const_cast<Work*>(&work));
    }
  }

 private:
  struct Work {
    const CopyShape* shape;
    const T* src;
    T* dst;
  };

  static void copy(const CopyShape& s, int axis, const T* src, T* dst) {
    if (axis >= s.ndim) {
      *dst = *src;
      return;
    }
    const int64_t n = s.size[axis], from = s.src_step[axis], to = s.dst_step[axis];
    if (axis + 1 < s.ndim) {
      for (int64_t i = 0; i < n; ++i) copy(s, axis + 1, src + i * from, dst + i * to);
    } else if (from == 1 && to == 1) {
      __builtin_memcpy(dst, src, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; ++i) dst[i * to] = src[i * from];
    }
  }

  CopyShape shape_;
  Place src_, dst_;
};

template <class T>
class FillStep : public Step {
 public:
  FillStep(int64_t work, int64_t n, T value, Place dst)
      : Step(work), n_(n), value_(value), dst_(dst) {}

  void run(const Memory& memory, const Run&) const override {
    T* to = memory.at<T>(dst_);
    for (int64_t i = 0; i < n_; ++i) to[i] = value_;
  }

 private:
  int64_t n_;
  T value_;
  Place dst_;
};

}  // namespace rushlight::runtime
