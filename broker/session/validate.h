// Checks of form that both kinds of stream make of what a frame says.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/types.h"
#include "spillway/v1/record.pb.h"

namespace spillway::session {

std::optional<Error> CheckProtocol(uint32_t protocol);
// A name by its rule (see IsValidName); `field` is its path.
std::optional<Error> CheckName(std::string_view name, std::string_view field);
std::optional<Error> CheckClient(std::string_view client);
std::optional<Error> CheckPartition(uint32_t partition, std::string_view field);

// Reads ranges of offsets into `out` (cleared first); at least one, at most `max`.
std::optional<Error> ReadRanges(
    const google::protobuf::RepeatedPtrField<::spillway::v1::OffsetRange>& ranges,
    std::string_view field, uint32_t max, std::vector<OffsetRange>* out);

}  // namespace spillway::session
