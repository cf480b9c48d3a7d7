// The steps of plans on images in blocks of channels.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "runtime/plan_steps.h"

namespace rushlight::runtime {

template <class T>
class BlockedConv2dStep : public Step {
 public:
  BlockedConv2dStep(int64_t work, const BlockedKernels<T>* kernels, const Conv2dShape& shape,
                    bool plain_src, Place src, std::shared_ptr<WeightBlock> prepared,
                    const EpiloguePlaces<T>& epilogue, Place dst)
      : Step(work),
        kernels_(kernels),
        shape_(shape),
        plain_src_(plain_src),
        src_(src),
        prepared_(std::move(prepared)),
        epilogue_(epilogue),
        dst_(dst) {}

  int64_t workspace(int slots) const override {
    return kernels_->workspace(shape_, plain_src_, slots);
  }
  void run(const Memory& memory, const Run& run) const override {
    kernels_->conv2d(run, shape_, plain_src_, memory.at<const T>(src_),
                     static_cast<const T*>(prepared_->data()), epilogue_.get(memory),
                     memory.at<T>(dst_));
  }

 private:
  const BlockedKernels<T>* kernels_;
  Conv2dShape shape_;
  bool plain_src_;
  Place src_;
  std::shared_ptr<WeightBlock> prepared_;
  EpiloguePlaces<T> epilogue_;
  Place dst_;
};

// A pointwise convolution and the depthwise one behind it.
template <class T>
class BlockedPairStep : public Step {
 public:
  BlockedPairStep(int64_t work, const BlockedKernels<T>* kernels, const Conv2dShape& first,
                  const Conv2dShape& second, Place src, std::shared_ptr<WeightBlock> pointwise,
                  const EpiloguePlaces<T>& between, std::shared_ptr<WeightBlock> depthwise,
                  const EpiloguePlaces<T>& epilogue, Place dst)
      : Step(work),
        kernels_(kernels),
        first_(first),
        second_(second),
        src_(src),
        pointwise_(std::move(pointwise)),
        between_(between),
        depthwise_(std::move(depthwise)),
        epilogue_(epilogue),
        dst_(dst) {}

  int64_t workspace(int slots) const override {
    return kernels_->pair_workspace(first_, second_, slots);
  }
  void run(const Memory& memory, const Run& run) const override {
    kernels_->pair(run, first_, second_, memory.at<const T>(src_),
                   static_cast<const T*>(pointwise_->data()), between_.get(memory),
                   static_cast<const T*>(depthwise_->data()), epilogue_.get(memory),
                   memory.at<T>(dst_));
  }

 private:
  const BlockedKernels<T>* kernels_;
  Conv2dShape first_, second_;
  Place src_;
  std::shared_ptr<WeightBlock> pointwise_;
  EpiloguePlaces<T> between_;
  std::shared_ptr<WeightBlock> depthwise_;
  EpiloguePlaces<T> epilogue_;
  Place dst_;
};

// From one layout to the other, or to the means of planes.
template <class T>
class ReorderStep : public Step {
 public:
  using Kernel = void (*)(const Run&, const ReorderShape&, const T*, T*);

  ReorderStep(int64_t work, Kernel kernel, const ReorderShape& shape, Place src, Place dst)
      : Step(work), kernel_(kernel), shape_(shape), src_(src), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernel_(run, shape_, memory.at<const T>(src_), memory.at<T>(dst_));
  }

 private:
  Kernel kernel_;
  ReorderShape shape_;
  Place src_, dst_;
};

template <class T>
class BlockedAffineStep : public Step {
 public:
  BlockedAffineStep(int64_t work, const BlockedKernels<T>* kernels, const ReorderShape& shape,
                    Place src, const EpiloguePlaces<T>& epilogue, Place dst)
      : Step(work), kernels_(kernels), shape_(shape), src_(src), epilogue_(epilogue), dst_(dst) {}

  void run(const Memory& memory, const Run& run) const override {
    kernels_->affine(run, shape_, memory.at<const T>(src_), epilogue_.get(memory),
                     memory.at<T>(dst_));
  }

 private:
  const BlockedKernels<T>* kernels_;
  ReorderShape shape_;
  Place src_;
  EpiloguePlaces<T> epilogue_;
  Place dst_;
};

}  // namespace rushlight::runtime
