// Opens a database with either RocksDB that Spillway is built with: how the result
// is handed over is all that differs between them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/version.h>

namespace spillway::third_party {

inline rocksdb::Status OpenDb(const rocksdb::DBOptions& options, const std::string& path,
                              const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                              std::vector<rocksdb::ColumnFamilyHandle*>* handles,
                              std::unique_ptr<rocksdb::DB>* db) {
#if ROCKSDB_MAJOR >= 11
  return rocksdb::DB::Open(options, path, families, handles, db);
#else
  rocksdb::DB* opened = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, path, families, handles, &opened);
  db->reset(opened);
  return status;
#endif
}

}  // namespace spillway::third_party
