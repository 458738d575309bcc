// DLPack: the structures in which arrays pass between libraries, as its versions 0 and 1 lay them out
// (dmlc.github.io/dlpack/latest).
#pragma once

#include <cstdint>

namespace mixsynth::dlpack {

enum DeviceType : int32_t { kHost = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : uint8_t { kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

struct Device {
    int32_t type, number;
};
struct Type {
    uint8_t code, bits;
    uint16_t lanes;
};
struct Tensor {
    void* data;
    Device device;
    int32_t rank;
    Type type;
    int64_t* shape;
    int64_t* strides;  // in numbers; nullptr where it is C-contiguous
    uint64_t byte_offset;
};

// In a capsule named "dltensor".
struct Managed {
    Tensor tensor;
    void* owner;
    void (*free)(Managed*);
};

// In a capsule named "dltensor_versioned".
struct Versioned {
    uint32_t major, minor;
    void* owner;
    void (*free)(Versioned*);
    uint64_t flags;
    Tensor tensor;
};
constexpr uint64_t kReadOnly = 1;

}  // namespace mixsynth::dlpack
