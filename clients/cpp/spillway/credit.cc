#include "clients/cpp/spillway/credit.h"

namespace spillway::client {

std::string_view Name(CreditReason reason) {
  switch (reason) {
    case CreditReason::kNone:
      return "NONE";
    case CreditReason::kWindowFull:
      return "WINDOW_FULL";
    case CreditReason::kMemoryBudget:
      return "MEMORY_BUDGET";
    case CreditReason::kDiskQuota:
      return "DISK_QUOTA";
    case CreditReason::kDiskSlow:
      return "DISK_SLOW";
    case CreditReason::kDiskLow:
      return "DISK_LOW";
    case CreditReason::kFairShare:
      return "FAIR_SHARE";
    case CreditReason::kOperatorLimit:
      return "OPERATOR_LIMIT";
    case CreditReason::kDraining:
      return "DRAINING";
    case CreditReason::kStoreFailed:
      return "STORE_FAILED";
    case CreditReason::kFullReject:
      return "FULL_REJECT";
  }
  return "UNKNOWN";
}

std::string_view EndsWhen(CreditReason reason) {
  switch (reason) {
    case CreditReason::kNone:
      return "nothing holds it";
    case CreditReason::kWindowFull:
    case CreditReason::kFullReject:
      return "consumers settle";
    case CreditReason::kMemoryBudget:
      return "any queue of the broker drains";
    case CreditReason::kDiskQuota:
      return "consumers settle, retention trims, or the quota is raised";
    case CreditReason::kDiskSlow:
      return "the disk catches up";
    case CreditReason::kDiskLow:
      return "disk space is freed";
    case CreditReason::kFairShare:
      return "it is this producer's turn";
    case CreditReason::kOperatorLimit:
      return "the operator's limit is raised";
    case CreditReason::kDraining:
      return "the client has reconnected";
    case CreditReason::kStoreFailed:
      return "the broker is restarted";
  }
  return "";
}

}  // namespace spillway::client
