#include "kernels/table.h"

#include "kernels/family.h"

#define RUSHLIGHT_STRING_(x) #x
#define RUSHLIGHT_STRING(x) RUSHLIGHT_STRING_(x)

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_FAMILIES(RUSHLIGHT_DECLARE_FAMILY)

namespace {

constexpr uint32_t kFeatures = 0
#ifdef __SSE4_2__
                               | kFeatureSse3To42
#endif
#ifdef __AVX2__
                               | kFeatureAvx2
#endif
#ifdef __FMA__
                               | kFeatureFma
#endif
#if defined(__AVX512F__) || defined(__AVX512DQ__) || defined(__AVX512BW__) || defined(__AVX512VL__)
                               | kFeatureAvx512
#endif
#ifdef __ARM_NEON
                               | kFeatureNeon
#endif
    ;

constexpr char kMacros[] =
    ""
#ifdef __SSE2__
    "__SSE2__ "
#endif
#ifdef __AVX2__
    "__AVX2__ "
#endif
#ifdef __FMA__
    "__FMA__ "
#endif
#ifdef __AVX512F__
    "__AVX512F__ "
#endif
#ifdef __AVX512DQ__
    "__AVX512DQ__ "
#endif
#ifdef __AVX512BW__
    "__AVX512BW__ "
#endif
#ifdef __AVX512VL__
    "__AVX512VL__ "
#endif
#ifdef __ARM_NEON
    "__ARM_NEON "
#endif
    ;

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool kFma = true;
#else
constexpr bool kFma = false;
#endif

}  // namespace

#define RUSHLIGHT_F32(Family, name) &name##_kernels<float>,
#define RUSHLIGHT_F64(Family, name) &name##_kernels<double>,

// The one symbol that the runtime takes from this instruction set.
extern const KernelTable kernel_table;
const KernelTable kernel_table = {
    RUSHLIGHT_STRING(RUSHLIGHT_ISA),
    kMacros,
    kFeatures,
    RUSHLIGHT_VECTOR_BYTES,
    kFma,
    RUSHLIGHT_TEST_ONLY != 0,
    {RUSHLIGHT_FAMILIES(RUSHLIGHT_F32)},
    {RUSHLIGHT_FAMILIES(RUSHLIGHT_F64)},
};

}  // namespace rushlight::RUSHLIGHT_ISA
