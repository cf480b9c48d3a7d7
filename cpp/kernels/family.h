// How a kernel file hands its functions to the table of its instruction set: one constant per
// element type.
#pragma once

#define RUSHLIGHT_DECLARE_FAMILY(Kernels, name)               \
  template <class T>                                          \
  extern const Kernels<T> name##_kernels;                     \
  extern template const Kernels<float> name##_kernels<float>; \
  extern template const Kernels<double> name##_kernels<double>;

#define RUSHLIGHT_DEFINE_FAMILY(Kernels, name, ...)       \
  template <class T>                                      \
  constinit const Kernels<T> name##_kernels{__VA_ARGS__}; \
  template const Kernels<float> name##_kernels<float>;    \
  template const Kernels<double> name##_kernels<double>;
