#include "glimpses.h"

#include <algorithm>
#include <cmath>

namespace mixsynth {
namespace {

struct Offset {
    double x = 0.0, y = 0.0;
};

// One time of the window beside the glimpse that is nearest to it, if any is at it.
class Row {
  public:
    Row(const Glimpses& glimpses, const GlimpsedWindow& window, int64_t row)
        : glimpses_(glimpses), poses_(window.poses + row * glimpses.joints * 2),
          sigma_(window.sigma ? window.sigma + row * glimpses.joints : nullptr) {
        const double time_s = window.times[row], *begin = glimpses.time_s, *end = begin + glimpses.count;
        glimpse_ = std::min(std::lower_bound(begin, end, time_s - glimpses.same_time_s) - begin, glimpses.count - 1);
        is_seen_ = glimpses.worth > 0.0 && std::fabs(begin[glimpse_] - time_s) <= glimpses.same_time_s;
    }

    bool is_followed(int64_t joint) const { return is_seen_ && glimpses_.followed[at(joint)]; }

    // By precision. A measured joint has no sigma, and is not corrected.
    Offset offset(int64_t joint) const {
        if (!is_seen_) return {};
        const double share = share_of(joint), *pose = glimpses_.poses + 2 * at(joint);
        const Offset offset{share * (pose[0] - poses_[2 * joint]), share * (pose[1] - poses_[2 * joint + 1])};
        return {std::isnan(offset.x) ? 0.0 : offset.x, std::isnan(offset.y) ? 0.0 : offset.y};
    }

    double sigma(int64_t joint) const {
        if (!is_seen_) return sigma_[joint];
        const double share = share_of(joint), window = (1.0 - share) * sigma_[joint];
        const double own = share * glimpses_.sigma[at(joint)];
        return std::sqrt(window * window + own * own + glimpses_.jitter * glimpses_.jitter);
    }

  private:
    int64_t at(int64_t joint) const { return glimpse_ * glimpses_.joints + joint; }

    double share_of(int64_t joint) const {
        if (!sigma_) return glimpses_.worth * glimpses_.no_sigma_share;
        const double window = sigma_[joint] * sigma_[joint], own = glimpses_.trust * glimpses_.sigma[at(joint)];
        return glimpses_.worth * (window / (window + own * own));
    }

    const Glimpses& glimpses_;
    const double *poses_, *sigma_;
    int64_t glimpse_;
    bool is_seen_;
};

}  // namespace

void corrections_at(const Glimpses& glimpses, const GlimpsedWindow& window, const Corrections& out) {
    const int64_t M = window.count, C = glimpses.joints;
    const Row last(glimpses, window, M), before(glimpses, window, M + 1);
    const double span_s = std::max(glimpses.newest_s[0] - glimpses.newest_s[1], glimpses.same_time_s);
    for (int64_t m = 0; m < M; ++m) {
        const Row row(glimpses, window, m);
        const double ahead_s = window.times[m] - glimpses.newest_s[0];
        const bool is_ahead = ahead_s > glimpses.same_time_s && glimpses.velocity_s > 0.0;
        const double reach_s = is_ahead ? glimpses.velocity_s * -std::expm1(-ahead_s / glimpses.velocity_s) : 0.0;
        for (int64_t j = 0; j < C; ++j) {
            Offset offset = row.offset(j);
            if (is_ahead) {
                const Offset newest = last.offset(j), earlier = before.offset(j);
                offset = {newest.x + (newest.x - earlier.x) / span_s * reach_s,
                          newest.y + (newest.y - earlier.y) / span_s * reach_s};
            }
            out.offsets[2 * (m * C + j)] = offset.x;
            out.offsets[2 * (m * C + j) + 1] = offset.y;
            out.followed[m * C + j] = row.is_followed(j);
            if (window.sigma) out.sigma[m * C + j] = row.sigma(j);
        }
    }
}

}  // namespace mixsynth
