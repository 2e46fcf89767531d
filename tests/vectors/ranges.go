package vectors

import (
	"math"

	pb "spillway.dev/clients/go/spillwaypb"
)

// rangeCase: offsets that were settled in this order, as runs [first, count]; the
// ranges that say the same, sorted and joined; and those as Settle.ranges.
type rangeCase struct {
	Name    string      `json:"name"`
	Settled [][2]uint64 `json:"settled"`
	Ranges  [][2]uint64 `json:"ranges"`
	Hex     string      `json:"hex"`
}

func ranges() any {
	cases := []rangeCase{
		{Name: "none", Settled: [][2]uint64{}, Ranges: [][2]uint64{}},
		{Name: "the first offset", Settled: [][2]uint64{{0, 1}}, Ranges: [][2]uint64{{0, 1}}},
		{Name: "in order", Settled: [][2]uint64{{5, 1}, {6, 1}, {7, 1}}, Ranges: [][2]uint64{{5, 3}}},
		{Name: "backwards", Settled: [][2]uint64{{7, 1}, {6, 1}, {5, 1}}, Ranges: [][2]uint64{{5, 3}}},
		{Name: "a gap that is filled", Settled: [][2]uint64{{1, 2}, {4, 2}, {3, 1}}, Ranges: [][2]uint64{{1, 5}}},
		{Name: "a gap that stays", Settled: [][2]uint64{{1, 2}, {4, 2}}, Ranges: [][2]uint64{{1, 2}, {4, 2}}},
		{Name: "every other one", Settled: [][2]uint64{{8, 1}, {2, 1}, {6, 1}, {0, 1}, {4, 1}},
			Ranges: [][2]uint64{{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}}},
		{Name: "numbers of one, two and ten bytes", Settled: [][2]uint64{{127, 1}, {129, 127}, {1 << 63, 1 << 40}},
			Ranges: [][2]uint64{{127, 1}, {129, 127}, {1 << 63, 1 << 40}}},
		{Name: "the last offset", Settled: [][2]uint64{{math.MaxUint64 - 1, 1}}, Ranges: [][2]uint64{{math.MaxUint64 - 1, 1}}},
	}
	for i := range cases {
		cases[i].Hex = encode(&pb.Settle{Ranges: toProto(cases[i].Ranges)})
	}
	return cases
}

func toProto(ranges [][2]uint64) []*pb.OffsetRange {
	var out []*pb.OffsetRange
	for _, r := range ranges {
		out = append(out, &pb.OffsetRange{FirstOffset: r[0], Count: r[1]})
	}
	return out
}
