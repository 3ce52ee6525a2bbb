#include "stream.h"

#include <algorithm>
#include <memory>
#include <string>

#include "counters.h"
#include "findings.h"
#include "heap.h"
#include "settings.h"

namespace softcuda {
namespace {

// A lazy queue still ends somewhere: past this much the older half runs by itself, as on a device that never stopped.
constexpr size_t LONGEST_QUEUE = 2048;

std::vector<Stream*>& streams() {
  static auto* all = new std::vector<Stream*>;
  return *all;
}

Clock& host_clock() {
  static auto* clock = new Clock;
  return *clock;
}

struct LastUses {
  const Stream* writer = nullptr;
  uint64_t written = 0;
  std::string write_by;
  std::map<size_t, uint64_t> reads;  // by stream
};
std::map<uintptr_t, LastUses>& last_uses() {
  static auto* all = new std::map<uintptr_t, LastUses>;
  return *all;
}

void run_until(Stream& stream, uint64_t position) {
  while (stream.done < position && !stream.queue.empty()) {
    Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    stream.done++;
    if (work.after) run_until(*work.after, work.position);
    if (work.run) work.run();
  }
}

void push(Stream& stream, Work work) {
  stream.queue.push_back(std::move(work));
  stream.queued++;
  if (settings().eager) run_until(stream, stream.queued);
  else if (stream.queue.size() > LONGEST_QUEUE) run_until(stream, stream.done + LONGEST_QUEUE / 2);
}

void advance(Stream& stream) {
  stream.clock.join(host_clock());
  if (stream.clock.of.size() <= stream.index) stream.clock.of.resize(stream.index + 1);
  stream.clock.of[stream.index]++;
}

void check_order(Stream& stream, const char* who, const Use& use) {
  Allocation* a = heap().find(use.at);
  if (!a || a->released) return;  // told at the launch
  LastUses& last = last_uses()[a->at];
  auto unordered = [&](size_t of, uint64_t when) { return of != stream.index && stream.clock.at(of) < when; };
  if (last.writer && unordered(last.writer->index, last.written)) {
    report(Kind::StreamRace, who, nullptr,
           std::string(use.role) + (use.writes ? " is written, " : " is read, ") + describe(*a) + ", which " + last.write_by +
               " on another stream writes with no order between");
  }
  if (use.writes) {
    for (auto [of, when] : last.reads) {
      if (!unordered(of, when)) continue;
      report(Kind::StreamRace, who, nullptr,
             std::string(use.role) + " is written, " + describe(*a) + ", which another stream reads with no order between");
    }
    last.writer = &stream;
    last.written = stream.clock.at(stream.index);
    last.write_by = who;
    last.reads.clear();
  } else {
    last.reads[stream.index] = stream.clock.at(stream.index);
  }
}

}  // namespace

void Clock::join(const Clock& other) {
  if (of.size() < other.of.size()) of.resize(other.of.size());
  for (size_t i = 0; i < other.of.size(); i++) of[i] = std::max(of[i], other.of[i]);
}

std::recursive_mutex& device_lock() {
  static auto* lock = new std::recursive_mutex;
  return *lock;
}

Stream* new_stream() {
  auto* stream = new Stream;
  stream->index = streams().size();
  streams().push_back(stream);
  return stream;
}

Stream& stream_of(void* handle) {
  static Stream* legacy = new_stream();
  thread_local Stream* own = nullptr;
  auto number = reinterpret_cast<uintptr_t>(handle);
  if (number == 2) {
    if (!own) own = new_stream();
    return *own;
  }
  return number < 2 ? *legacy : *static_cast<Stream*>(handle);
}

void forget_uses(uintptr_t at) { last_uses().erase(at); }

void enqueue(Stream& stream, const char* who, const std::vector<Use>& uses, std::function<void()> run) {
  advance(stream);
  for (const Use& use : uses) check_order(stream, who, use);
  push(stream, {std::move(run)});
}

void record(Event& event, Stream& stream) {
  event.stream = &stream;
  event.position = stream.queued;
  event.clock = stream.clock;
}

void wait_for(Stream& stream, const Event& event) {
  if (!event.stream) return;
  stream.clock.join(event.clock);
  if (event.stream != &stream) push(stream, {nullptr, event.stream, event.position});
}

void host_wait(Stream& stream, const char* call) {
  counters().syncs[call]++;
  run_until(stream, stream.queued);
  host_clock().join(stream.clock);
  pool_waited();
}

void host_wait(const Event& event, const char* call) {
  counters().syncs[call]++;
  if (!event.stream) return;
  run_until(*event.stream, event.position);
  host_clock().join(event.clock);
  pool_waited();
}

void host_wait_all(const char* call) {
  counters().syncs[call]++;
  for (Stream* stream : streams()) {
    run_until(*stream, stream->queued);
    host_clock().join(stream->clock);
  }
  pool_waited();
}

}  // namespace softcuda
