// The file system that RocksDB stands on: the usual one, but a directory whose sync failed once is never synced again.
//
// Linux tells of a failed sync once for each descriptor (fsync(2)), and what it was to make durable may never be, though
// a later one succeeds. RocksDB has one descriptor of its directory, and many threads sync it: a compaction makes a
// table, the first sync of a log fails and loses the table's name, and the compaction, which was not told, syncs the
// directory successfully and puts the table on the list of files. After a power cut the list names what is not there.
//
// Here syncs of directories, which are rare, come one after the other, and all that come after a failed one fail too.
// What was made before the failed one was synced before it, or is never relied on.

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace {

using namespace ROCKSDB_NAMESPACE;

// What all open directories of a file system know of each other.
class Syncs {
 public:
  template <typename Sync>
  IOStatus Run(Sync sync) {
    std::lock_guard<std::mutex> turn(turn_);
    if (has_failed_) {
      return IOStatus::IOError("a directory of the index could not be synced before", failure_);
    }
    IOStatus status = sync();
    if (!status.ok()) {
      has_failed_ = true;
      failure_ = status.ToString();
    }
    return status;
  }

 private:
  std::mutex turn_;
  bool has_failed_ = false;
  std::string failure_;
};

class Directory : public FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<FSDirectory>&& target, std::shared_ptr<Syncs> syncs)
      : FSDirectoryWrapper(std::move(target)), syncs_(std::move(syncs)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return syncs_->Run([&] { return FSDirectoryWrapper::Fsync(options, debug); });
  }

  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const DirFsyncOptions& reason) override {
    return syncs_->Run([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, reason); });
  }

 private:
  std::shared_ptr<Syncs> syncs_;
};

class CarefulFileSystem : public FileSystemWrapper {
 public:
  CarefulFileSystem() : FileSystemWrapper(FileSystem::Default()), syncs_(std::make_shared<Syncs>()) {}

  const char* Name() const override { return "orlop"; }

  IOStatus NewDirectory(const std::string& name, const IOOptions& options, std::unique_ptr<FSDirectory>* result,
                        IODebugContext* debug) override {
    std::unique_ptr<FSDirectory> target;
    IOStatus status = FileSystemWrapper::NewDirectory(name, options, &target, debug);
    if (status.ok()) {
      *result = std::make_unique<Directory>(std::move(target), syncs_);
    }
    return status;
  }

 private:
  std::shared_ptr<Syncs> syncs_;
};

}  // namespace

// As RocksDB's C interface has it (db/c.cc); build.rs compares them.
struct rocksdb_env_t {
  Env* rep;
  bool is_default;
};

// An environment with a file system of its own, for one database. Belongs to the caller, for rocksdb_env_destroy.
extern "C" rocksdb_env_t* orlop_rocksdb_environment() {
  return new rocksdb_env_t{NewCompositeEnv(std::make_shared<CarefulFileSystem>()).release(), false};
}
