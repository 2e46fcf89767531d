package main

import (
	"slices"
	"strings"
	"testing"
)

const script = `spillwayd 11 
	ffffffff8160e01e copy_folio (a) ([kernel.kallsyms])
	           f838f __write (/usr/lib/libc.so.6)
	          79e5b9 [unknown] (/usr/lib/librocksdb.so.7.8.3)
	          18bc5f spillway::storage::CommitThread::Run (/bin/spillwayd)
	           d44a2 clone3 (/usr/lib/libc.so.6)

spillwayd 12 
	           18bc5 spillway::wire::ScanPublish (/bin/spillwayd)
	           18bc6 spillway::service::Shard::Run (/bin/spillwayd)
	ffffffffffffffff [unknown] ([unknown])

spillwayd 12 
	           18bc5 spillway::wire::ScanPublish (/bin/spillwayd)
	           18bc6 spillway::service::Shard::Run (/bin/spillwayd)
	ffffffffffffffff [unknown] ([unknown])

rocksdb:low 9 
	          7b9c47 rocksdb::f;g (/usr/lib/librocksdb.so.7.8.3)

rocksdb:low 9 
	           18bc5 spillway::storage::TableListener::OnFlushCompleted (/bin/spillwayd)

two words 7 
	ffffffffffffffff [unknown] ([unknown])

`

func TestParseStacks(t *testing.T) {
	stacks, err := parseStacks([]byte(script))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := writeFolded(&got, fold(stacks)); err != nil {
		t.Fatal(err)
	}
	want := `rocksdb:low;rocksdb::f:g 1
rocksdb:low;spillway::storage::TableListener::OnFlushCompleted 1
spillwayd CommitThread::Run;clone3;spillway::storage::CommitThread::Run;[librocksdb.so.7.8.3];__write;copy_folio (a)_[k] 1
spillwayd Shard::Run;spillway::service::Shard::Run;spillway::wire::ScanPublish 2
two words;[unknown] 1
`
	if got.String() != want {
		t.Errorf("folded:\n%s", got.String())
	}
}

func TestParseStacksOfSomethingElse(t *testing.T) {
	for _, text := range []string{"nothing\n", "\n\nError:\n"} {
		if got, err := parseStacks([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, err := parseStacks(nil); err != nil || len(got) != 0 {
		t.Errorf("no samples are %v, %v", got, err)
	}
}

func TestHottest(t *testing.T) {
	stacks := []stack{
		{"a", []string{"main", "f"}}, {"a", []string{"main", "g", "f"}},
		{"b", []string{"f"}}, {"a", []string{"main"}}, {"a", []string{"main", "f", "g"}},
	}
	want := []hot{{"a", "f", 2}, {"a", "g", 1}, {"a", "main", 1}, {"b", "f", 1}}
	if got := hottest(stacks); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := busiest(stacks); !slices.Equal(got, []hot{{"a", "", 4}, {"b", "", 1}}) {
		t.Errorf("%v", got)
	}
}

func TestStackTableLeavesOutWhatIsRare(t *testing.T) {
	stacks := slices.Repeat([]stack{{"a", []string{"f"}}}, 999)
	text := stackTable(append(stacks, stack{"b", []string{"rare"}}))
	if !strings.Contains(text, "99.9 %  a") || strings.Contains(text, "rare") {
		t.Errorf("\n%s", text)
	}
}
