// A fake CUDA runtime, for tests of the host's side without a driver: two cards in host memory, whose streams work as late
// as they may. What nobody waits for has not happened: memory that is read too early is NaN.
#include <cmath>
#include <vector>

#include "cuda/kernel.h"
#include "machine.h"

namespace {

using namespace fake;

// What the test wants of the next call of this name.
cudaError_t failure_of(const char* name) {
    Machine& m = machine();
    if (m.broken != cudaSuccess) return m.last = m.broken;
    const auto place = m.failures.find(name);
    if (place == m.failures.end() || place->second.times == 0) return cudaSuccess;
    --place->second.times;
    return ended(place->second.status);
}

#define BEGIN(name)                                                    \
    Machine& m = machine();                                            \
    const Lock lock(m.mutex);                                          \
    if (const cudaError_t status = failure_of(name); status != cudaSuccess) return status

// What CUDA refuses while some thread captures a graph, unless this thread has said that it takes care of itself.
#define BEGIN_BESIDE_CAPTURES(name)                                                \
    BEGIN(name);                                                                   \
    if (capture_mode != cudaStreamCaptureModeRelaxed)                              \
        for (const auto& [handle, stream] : m.streams)                             \
            if (stream->capture) return ended(cudaErrorStreamCaptureUnsupported)

int get_context(void** result) {
    *result = context;
    return 0;
}
int set_context(void* next) {
    context = next;
    return 0;
}
int pointer_attribute(void* value, int, unsigned long long address) {
    const Block* block = machine().block(reinterpret_cast<const void*>(address));
    *static_cast<void**>(value) = block ? block->context : nullptr;
    return block ? 0 : 1;
}

// In place of the network: motion [b, t, d] = keyframes [b, t % (Q + 1), d] + t.
void fake_kernel(mixsynth::card::Forward call) {
    const auto& s = call.sizes;
    const auto require_on_card = [&](const void* address, int64_t bytes) {
        const Block* block = machine().block(address, static_cast<size_t>(bytes));
        if (!block || block->type != cudaMemoryTypeDevice) ended(cudaErrorIllegalAddress);
    };
    require_on_card(call.keyframes, call.batch * s.keyframes * s.joint_dim * 4);
    require_on_card(call.motion, call.batch * s.tokens * s.joint_dim * 4);
    require_on_card(call.packed, int64_t{call.offsets.size} * 4);
    if (std::isnan(call.packed[0])) ended(cudaErrorLaunchFailure);  // the weights have not come yet
    if (call.buffers.workspace_bytes) require_on_card(call.workspace, call.buffers.workspace_bytes * kMultiprocessors);
    if (machine().broken != cudaSuccess) return;
    for (int64_t b = 0; b < call.batch; ++b)
        for (int t = 0; t < s.tokens; ++t)
            for (int d = 0; d < s.joint_dim; ++d)
                call.motion[(b * s.tokens + t) * s.joint_dim + d] =
                    call.keyframes[(b * s.keyframes + t % s.keyframes) * s.joint_dim + d] + static_cast<float>(t);
}

}  // namespace

namespace mixsynth::card {

Kernel kernel_for(const Sizes&, Precision, bool) { return {fake_kernel, 8}; }

}  // namespace mixsynth::card

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
    *version = machine().driver;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetLastError() {
    const cudaError_t last = machine().last;
    machine().last = machine().broken;
    return last;
}
const char* cudaGetErrorString(cudaError_t status) {
    switch (status) {
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorInvalidResourceHandle: return "invalid resource handle";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        default: return "another error";
    }
}
cudaError_t cudaGetDeviceCount(int* count) {
    BEGIN("cudaGetDeviceCount");
    *count = m.devices;
    if (m.driver < 13000) return ended(cudaErrorInsufficientDriver);
    return m.devices ? cudaSuccess : ended(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
    BEGIN("cudaSetDevice");
    if (device < 0 || device >= m.devices) return ended(cudaErrorInvalidDevice);
    context = m.primary + device;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
    BEGIN("cudaDeviceGetAttribute");
    *value = name == cudaDevAttrMultiProcessorCount        ? kMultiprocessors
             : name == cudaDevAttrComputeCapabilityMajor ? m.major
             : name == cudaDevAttrComputeCapabilityMinor ? m.minor
                                                         : m.shared_limit;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    BEGIN("cudaGetDeviceProperties");
    std::strcpy(properties->name, device ? "Fake Card 1" : "Fake Card 0");
    return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult*) {
    const std::string text = name;
    *function = text == "cuCtxGetCurrent"         ? reinterpret_cast<void*>(get_context)
                : text == "cuCtxSetCurrent"       ? reinterpret_cast<void*>(set_context)
                : text == "cuPointerGetAttribute" ? reinterpret_cast<void*>(pointer_attribute)
                                                  : nullptr;
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
    BEGIN("cudaPointerGetAttributes");
    const Block* block = m.block(address);
    *attributes = {block ? block->type : cudaMemoryTypeUnregistered, block ? block->device : -1};
    return cudaSuccess;
}
cudaError_t cudaMalloc(void** start, size_t bytes) {
    BEGIN_BESIDE_CAPTURES("cudaMalloc");
    return allocate(start, bytes, cudaMemoryTypeDevice, device_of(context), context);
}
cudaError_t cudaMallocHost(void** start, size_t bytes) {
    BEGIN_BESIDE_CAPTURES("cudaMallocHost");
    return allocate(start, bytes, cudaMemoryTypeHost, device_of(context), context);
}
cudaError_t cudaFree(void* start) {
    Machine& m = machine();
    const Lock lock(m.mutex);
    if (capture_mode != cudaStreamCaptureModeRelaxed)
        for (const auto& [handle, stream] : m.streams)
            if (stream->capture) return ended(cudaErrorStreamCaptureUnsupported);
    if (m.broken == cudaSuccess) m.run_all();
    if (!m.blocks.erase(reinterpret_cast<uintptr_t>(start))) return ended(cudaErrorInvalidValue);
    std::free(start);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void* start) { return cudaFree(start); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle) {
    BEGIN("cudaMemcpyAsync");
    const Block *target = m.block(to, bytes), *source = m.block(from, bytes);
    const bool to_card = kind == cudaMemcpyHostToDevice;
    const Block *on_card = to_card ? target : source, *on_host = to_card ? source : target;
    // Memory that is not pinned is read before the call returns, and reaches the card later; it is never written to.
    if (!on_card || on_card->type != cudaMemoryTypeDevice || (on_host && on_host->type != cudaMemoryTypeHost) ||
        (!on_host && !to_card))
        return ended(cudaErrorInvalidValue);
    Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    std::vector<char> read_now;
    if (!on_host) read_now.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    stream->add([=] { std::memcpy(to, read_now.empty() ? from : read_now.data(), bytes); });
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned) {
    BEGIN_BESIDE_CAPTURES("cudaStreamCreateWithFlags");
    *handle = reinterpret_cast<cudaStream_t>(m.next_handle++);
    m.streams[*handle] = std::make_unique<Stream>();
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    Machine& m = machine();
    const Lock lock(m.mutex);
    m.streams.erase(handle);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    BEGIN("cudaStreamSynchronize");
    Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    stream->run(stream->queued);
    return m.broken;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* number) {
    BEGIN("cudaStreamGetCaptureInfo");
    const Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    *status = stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    *number = stream->capture;
    return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    std::swap(*mode, capture_mode);
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    BEGIN("cudaStreamWaitEvent");
    Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    const Event now = *m.events.at(event);
    if (now.stream) stream->add([now] { now.stream->run(now.until); });
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    BEGIN("cudaEventCreateWithFlags");
    *event = reinterpret_cast<cudaEvent_t>(m.next_handle++);
    m.events[*event] = std::make_unique<Event>();
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    Machine& m = machine();
    const Lock lock(m.mutex);
    m.events.erase(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
    BEGIN("cudaEventRecord");
    Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    *m.events.at(event) = {stream, stream->queued};
    return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) {
    BEGIN("cudaFuncGetAttributes");
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
    BEGIN("cudaFuncSetAttribute");
    return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* function, dim3 blocks, dim3 threads, void** arguments, size_t shared_bytes,
                             cudaStream_t handle) {
    BEGIN("cudaLaunchKernel");
    Stream* stream = m.stream(handle);
    if (!stream) return ended(cudaErrorInvalidResourceHandle);
    if (blocks.x == 0 || blocks.x > kMultiprocessors || threads.x != 32 || threads.y != 8 ||
        shared_bytes > static_cast<size_t>(m.shared_limit))
        return ended(cudaErrorInvalidConfiguration);
    const auto kernel = reinterpret_cast<void (*)(mixsynth::card::Forward)>(const_cast<void*>(function));
    const auto call = *static_cast<const mixsynth::card::Forward*>(arguments[0]);
    stream->add([=] { kernel(call); });
    m.workspace = call.workspace, m.windows = call.buffers.windows;
    ++m.launches;
    return cudaSuccess;
}

}
