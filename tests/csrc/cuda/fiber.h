// Fiber: a function on a stack of its own, which hands control to other fibers and gets it back.
//
// GCC's and Clang's __builtin_setjmp switches in a few nanoseconds, where swapcontext() would call the system each time.
// AddressSanitizer is told of every switch, so that it knows whose stack it sees.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#define MIXSYNTH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MIXSYNTH_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef MIXSYNTH_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#define MIXSYNTH_UNCHECKED __attribute__((noinline, no_sanitize("address")))
#else
#define MIXSYNTH_UNCHECKED __attribute__((noinline))
#endif

namespace mixsynth::card {

class Fiber {
  public:
    // The next switch to this fiber runs `entry` from its start, with an empty stack. It must never return.
    void prepare(void (*entry)()) {
        if (!stack_) stack_.reset(new char[kStack]);
        bottom_ = stack_.get();
        size_ = kStack;
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_.get();
        context_.uc_stack.ss_size = kStack;
        context_.uc_link = nullptr;
        makecontext(&context_, entry, 0);
        is_new_ = true;
    }

    // Stops `this` where it is and goes on with `other`.
    MIXSYNTH_UNCHECKED void switch_to(Fiber& other) {
        previous() = this;
#ifdef MIXSYNTH_ADDRESS_SANITIZER
        __sanitizer_start_switch_fiber(&fake_stack_, other.bottom_, other.size_);
#endif
        if (__builtin_setjmp(place_) == 0) resume(other);
        has_switched(fake_stack_);
    }

    // Whoever has just been switched to for the first time says so.
    MIXSYNTH_UNCHECKED static void begin() { has_switched(nullptr); }

  private:
    static constexpr size_t kStack = size_t{1} << 18;

    static Fiber*& previous() {
        static Fiber* fiber = nullptr;
        return fiber;
    }
    MIXSYNTH_UNCHECKED static void has_switched([[maybe_unused]] void* fake_stack) {
#ifdef MIXSYNTH_ADDRESS_SANITIZER
        // The first fiber of all is the program's own stack, whose bounds are known only now.
        __sanitizer_finish_switch_fiber(fake_stack, &previous()->bottom_, &previous()->size_);
#endif
    }
    // Apart from switch_to(), because one function must not hold both halves of the jump.
    MIXSYNTH_UNCHECKED static void resume(Fiber& other) {
        if (!other.is_new_) __builtin_longjmp(other.place_, 1);
        other.is_new_ = false;
        setcontext(&other.context_);
    }

    std::unique_ptr<char[]> stack_;
    const void* bottom_ = nullptr;
    size_t size_ = 0;
    void* fake_stack_ = nullptr;
    ucontext_t context_{};
    void* place_[5] = {};
    bool is_new_ = false;
};

}  // namespace mixsynth::card
