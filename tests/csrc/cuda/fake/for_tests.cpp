// What tests set and ask of the fake machine: they call these functions through ctypes.
#include "machine.h"

#define FOR_TESTS extern "C" __attribute__((visibility("default")))

using namespace fake;

// The next `times` calls of this function of the runtime give `status`.
FOR_TESTS void fake_fail(const char* name, int status, int times) {
    machine().failures[name] = {static_cast<cudaError_t>(status), times};
}
FOR_TESTS void fake_machine(int devices, int major, int minor, int driver, int shared_limit) {
    Machine& m = machine();
    m.devices = devices, m.major = major, m.minor = minor, m.driver = driver, m.shared_limit = shared_limit;
}
FOR_TESTS void* fake_memory(size_t bytes, int device, int is_foreign) {
    Machine& m = machine();
    const Lock lock(m.mutex);
    void* start = nullptr;
    allocate(&start, bytes, cudaMemoryTypeDevice, device, is_foreign ? &m.foreign : m.primary + device);
    return start;
}
FOR_TESTS void fake_free(void* start) { cudaFree(start); }
FOR_TESTS void* fake_stream() {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, 0);
    return stream;
}
// On the stream, when it comes to it: memory of a card is filled from host memory.
FOR_TESTS void fake_write(void* to, const float* from, size_t bytes, void* stream) {
    Machine& m = machine();
    const Lock lock(m.mutex);
    const std::shared_ptr<char> copy(new char[bytes], std::default_delete<char[]>());
    std::memcpy(copy.get(), from, bytes);
    m.stream(static_cast<cudaStream_t>(stream))->add([=] { std::memcpy(to, copy.get(), bytes); });
}
FOR_TESTS void fake_wait(void* stream) { cudaStreamSynchronize(static_cast<cudaStream_t>(stream)); }
FOR_TESTS void fake_begin_capture(void* stream) {
    Machine& m = machine();
    Stream* its = m.stream(static_cast<cudaStream_t>(stream));
    its->graph.clear();
    its->capture = ++m.captures;
}
FOR_TESTS void fake_end_capture(void* stream) { machine().stream(static_cast<cudaStream_t>(stream))->capture = 0; }
// Queues what was captured on the stream.
FOR_TESTS void fake_replay(void* stream) {
    Stream* its = machine().stream(static_cast<cudaStream_t>(stream));
    for (const auto& work : its->graph) its->add(work);
}
// Those of the last launch.
FOR_TESTS const void* fake_workspace() { return machine().workspace; }
FOR_TESTS int fake_windows() { return machine().windows; }
FOR_TESTS int fake_blocks() { return static_cast<int>(machine().blocks.size()); }
FOR_TESTS int fake_launches() { return machine().launches; }
// Where the calling thread is: -1 nowhere, 8 in another program's context, else on this device.
FOR_TESTS int fake_context() {
    return !context ? -1 : context == &machine().foreign ? 8 : device_of(context);
}
FOR_TESTS void fake_enter(int where) {
    context = where < 0 ? nullptr : where == 8 ? &machine().foreign : machine().primary + where;
}
