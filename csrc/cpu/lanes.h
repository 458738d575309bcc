// Lanes: arrays with the operators of GCC's and Clang's vector types, for compilers without such types (MSVC). They are
// right everywhere, and slower than registers where the compiler does not vectorise them.
#pragma once

#if !defined(__GNUC__)
#include <cmath>

#define __attribute__(attribute)  // ours concern speed only
inline float __builtin_sqrtf(float x) { return std::sqrt(x); }
#endif

namespace mixsynth {
namespace {

template <typename Number, int kCount>
struct Lanes {
    Number lane[kCount];

    Lanes() = default;
    Lanes(Number same) {  // makes `2.0f * lanes` one of the operators below
        for (Number& x : lane) x = same;
    }
    template <typename... Numbers>
    Lanes(Number first, Number second, Numbers... more) : lane{first, second, more...} {}

    Number operator[](int i) const { return lane[i]; }
    friend Lanes operator+(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x + y; }); }
    friend Lanes operator-(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x - y; }); }
    friend Lanes operator*(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x * y; }); }
    friend Lanes operator/(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x / y; }); }
    friend Lanes operator&(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x & y; }); }
    friend Lanes operator<<(Lanes a, int bits) { return apply(a, a, [=](Number x, Number) { return x << bits; }); }
    friend Lanes larger(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x > y ? x : y; }); }
    friend Lanes smaller(Lanes a, Lanes b) { return apply(a, b, [](Number x, Number y) { return x < y ? x : y; }); }
    friend Lanes where_positive(Lanes x, Lanes v) {
        return apply(x, v, [](Number a, Number b) { return a > 0 ? b : 0; });
    }
    Lanes operator-() const { return Lanes() - *this; }
    Lanes& operator+=(Lanes b) { return *this = *this + b; }

  private:
    template <typename Function>
    static Lanes apply(Lanes a, Lanes b, Function f) {
        Lanes out;
        for (int i = 0; i < kCount; ++i) out.lane[i] = f(a.lane[i], b.lane[i]);
        return out;
    }
};

}  // namespace
}  // namespace mixsynth
