#include "runtime/limits.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace rushlight::runtime {
namespace {

int affinity_count() {
#if defined(__linux__)
  // A machine may have more processors than the static cpu_set_t holds, so the set grows until it
  // fits.
  for (int count = 1024; count <= (1 << 20); count *= 4) {
    cpu_set_t* set = CPU_ALLOC(count);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(count);
    const bool fits = sched_getaffinity(0, bytes, set) == 0;
    const int cpus = fits ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (fits) return std::max(1, cpus);
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

#if defined(__linux__)
// The path of this process in the hierarchy of `controller` ("" is cgroup v2), from
// /proc/self/cgroup.
std::optional<std::string> cgroup_path(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    std::string name;
    do {
      std::getline(controllers, name, ',');
      if (name == controller) return line.substr(second + 1);
    } while (controllers);
  }
  return std::nullopt;
}

// Calls visit(directory) for this process's group and all groups above it: the tightest limit
// counts. Inside a container the path may name directories of the host; those fail to open and the
// root of the mount remains.
void for_each_group(const std::string& mount, const std::string& controller,
                    const std::function<void(const std::string&)>& visit) {
  std::string path = cgroup_path(controller).value_or("/");
  while (path.size() > 1) {
    visit(mount + path);
    path.resize(std::max<size_t>(1, path.rfind('/')));
  }
  visit(mount);
}

std::optional<double> read_number(const std::string& file_name) {
  std::ifstream file(file_name);
  double value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

double cpu_quota() {
  double quota = INFINITY;
  for_each_group("/sys/fs/cgroup", "", [&](const std::string& group) {
    std::ifstream file(group + "/cpu.max");
    std::string limit;
    double period = 0;
    if (!(file >> limit >> period) || limit == "max" || period <= 0) return;
    const double value = std::atof(limit.c_str());
    if (value > 0) quota = std::min(quota, value / period);
  });
  for_each_group("/sys/fs/cgroup/cpu", "cpu", [&](const std::string& group) {
    const double limit = read_number(group + "/cpu.cfs_quota_us").value_or(-1);
    const double period = read_number(group + "/cpu.cfs_period_us").value_or(0);
    if (limit > 0 && period > 0) quota = std::min(quota, limit / period);
  });
  return quota;
}

double memory_limit() {
  double limit = INFINITY;
  for_each_group("/sys/fs/cgroup", "", [&](const std::string& group) {
    limit = std::min(limit, read_number(group + "/memory.max").value_or(INFINITY));
  });
  for_each_group("/sys/fs/cgroup/memory", "memory", [&](const std::string& group) {
    limit = std::min(limit, read_number(group + "/memory.limit_in_bytes").value_or(INFINITY));
  });
  return limit;
}
#else
double cpu_quota() {
  return INFINITY;
}
double memory_limit() {
  return INFINITY;
}
#endif

}  // namespace

int usable_cpus() {
  const double quota = std::max(1.0, std::ceil(cpu_quota()));
  return static_cast<int>(std::min<double>(affinity_count(), quota));
}

int64_t usable_memory() {
  const double pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));
  const double physical = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  return static_cast<int64_t>(std::min(physical, memory_limit()));
}

}  // namespace rushlight::runtime
