// Memory of an emulated block: who has written and read each two bytes of it since the last barrier.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace mixsynth::card {

constexpr int kLanesOfWarp = 32;

// Where in the source a primitive was called.
struct Place {
    const char* file;
    int line;
};

// A fault ends the program with this exit code and one line on standard error.
constexpr int kFaultExit = 3;

[[noreturn]] inline void fault(const Place& place, const std::string& what) {
    std::fprintf(stderr, "fault: %s, at %s:%d\n", what.c_str(), place.file, place.line);
    std::fflush(nullptr);
    std::_Exit(kFaultExit);
}

// The thread that accesses memory, and what orders it among others: barriers of the block, and those of its warp.
struct Thread {
    int number;
    uint32_t period;  // block barriers so far
    uint32_t turn;    // barriers of its warp so far
    int warp() const { return number / kLanesOfWarp; }
};

class Memory {
  public:
    // Both are rounded up to whole cells. The caller fills the memory.
    void watch(void* start, size_t bytes) {
        start_ = static_cast<char*>(start);
        cells_.assign((bytes + 1) / 2, Cell{});
    }
    bool holds(const void* address, size_t bytes) const {
        const auto* place = static_cast<const char*>(address);
        return place >= start_ && place + bytes <= start_ + 2 * cells_.size();
    }
    void on_read(const void* address, size_t bytes, const Thread& thread, const Place& place) {
        for (Cell& cell : cells_of(address, bytes)) cell.read(thread, place);
    }
    void on_write(const void* address, size_t bytes, const Thread& thread, const Place& place) {
        for (Cell& cell : cells_of(address, bytes)) cell.write(thread, place);
    }

  private:
    static constexpr int kNobody = -1, kSeveral = -2;

    struct Cell {
        uint32_t written = UINT32_MAX, written_turn = 0;  // the period and turn of the last write
        int writer = kNobody;
        uint32_t was_read = UINT32_MAX, read_turn = 0;  // those of the last read
        int reader = kNobody, reading_warp = kNobody;

        bool is_before(const Thread& thread) const {
            return written != thread.period || writer == thread.number ||
                   (writer / kLanesOfWarp == thread.warp() && written_turn < thread.turn);
        }
        void read(const Thread& thread, const Place& place) {
            if (!is_before(thread)) fail(place, thread, "reads what thread ", writer, "wrote");
            if (was_read != thread.period) {
                reader = thread.number, reading_warp = thread.warp();
            } else if (reading_warp != thread.warp()) {
                reader = reading_warp = kSeveral;
            } else if (read_turn != thread.turn) {
                reader = thread.number;
            } else if (reader != thread.number) {
                reader = kSeveral;
            }
            was_read = thread.period, read_turn = thread.turn;
        }
        void write(const Thread& thread, const Place& place) {
            if (!is_before(thread)) fail(place, thread, "writes where thread ", writer, "wrote");
            const bool same_warp = reading_warp == thread.warp();
            const bool is_read = was_read == thread.period && reader != thread.number;
            if (is_read && !(same_warp && read_turn < thread.turn))
                fail(place, thread, "writes where thread ", reader, "read");
            written = thread.period, written_turn = thread.turn, writer = thread.number;
        }
        [[noreturn]] static void fail(const Place& place, const Thread& thread, const char* verb, int other,
                                      const char* past) {
            const std::string name = other == kSeveral ? "of several" : std::to_string(other);
            fault(place,
                  "thread " + std::to_string(thread.number) + " " + verb + name + " " + past + " since the last barrier");
        }
    };

    struct Range {
        Cell *first, *last;
        Cell* begin() const { return first; }
        Cell* end() const { return last; }
    };
    Range cells_of(const void* address, size_t bytes) {
        Cell* first = cells_.data() + (static_cast<const char*>(address) - start_) / 2;
        return {first, first + (bytes + 1) / 2};
    }

    char* start_ = nullptr;
    std::vector<Cell> cells_;
};

// What all blocks of a launch write, and none reads: each number once.
class Results {
  public:
    Results(const float* start, size_t count) : start_(start), is_written_(count) {}

    void on_write(const float* address, const Place& place) {
        const auto index = static_cast<size_t>(address - start_);
        if (address < start_ || index >= is_written_.size()) fault(place, "a result is written beyond the last one");
        if (is_written_[index]) fault(place, "result " + std::to_string(index) + " is written a second time");
        is_written_[index] = true;
    }
    // After the last block.
    void check_complete(const Place& place) const {
        for (size_t i = 0; i < is_written_.size(); ++i)
            if (!is_written_[i]) fault(place, "result " + std::to_string(i) + " is never written");
    }

  private:
    const float* start_;
    std::vector<bool> is_written_;
};

}  // namespace mixsynth::card
