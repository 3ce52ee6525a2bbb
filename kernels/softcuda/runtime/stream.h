// Streams: queues of work that runs when something waits for it, and the order between them.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

namespace softcuda {

/// For each stream how much of its work is known to come before.
struct Clock {
  std::vector<uint64_t> of;
  uint64_t at(size_t stream) const { return stream < of.size() ? of[stream] : 0; }
  void join(const Clock& other);
};

struct Work {
  std::function<void()> run;
  struct Stream* after = nullptr;  // a wait for an event: that stream first, up to `position`
  uint64_t position = 0;
};

struct Capture;

struct Stream {
  size_t index;
  Capture* capture = nullptr;  // what it captures into, if it does
  Clock clock;               // of what has been queued
  uint64_t queued = 0, done = 0;
  std::deque<Work> queue;
};

struct Event {
  Stream* stream = nullptr;  // null: never recorded
  bool captured = false;     // recorded into a graph: nobody can wait for it outside
  uint64_t position = 0;
  Clock clock;
};

/// A range of device memory that work reads or writes.
struct Use {
  uintptr_t at;
  bool writes;
  const char* role;         // `argument 3`, for messages
  uint64_t allocation = 0;  // whose it was when it was captured
};

/// The one lock of the device.
std::recursive_mutex& device_lock();

/// A handle of the driver: 0 and 1 the legacy stream, 2 the calling thread's own.
Stream& stream_of(void* handle);
Stream* new_stream();

/// Queues work. Memory that other streams use without an order between is reported under `who`.
void enqueue(Stream& stream, const char* who, const std::vector<Use>& uses, std::function<void()> run);
void record(Event& event, Stream& stream);
void wait_for(Stream& stream, const Event& event);
/// The host waits: the stream's work (and what it depends on) is done, and known to be.
void host_wait(Stream& stream, const char* call);
void host_wait(const Event& event, const char* call);
void host_wait_all(const char* call);

/// Forgets who used an address, when it is allocated afresh.
void forget_uses(uintptr_t at);

}  // namespace softcuda
