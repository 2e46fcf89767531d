package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	spillway "spillway.dev/clients/go"
	"spillway.dev/clients/go/spillwaytest"
)

// The driver against the fake: every command, and the shape of its answer.
func TestDriver(t *testing.T) {
	b := spillwaytest.New(t)
	d := &driver{producers: map[string]*producer{}, consumers: map[string]*consumer{}, replays: map[string]*replay{}}
	for _, step := range []struct{ in, want string }{
		{`{"cmd":"dial","address":"` + b.Address() + `"}`, `{"ok":true}`},
		{`{"cmd":"create_queue","queue":"q","tuning":{"window_messages":3,"overflow":"REJECT"}}`, `{"ok":true,"revision":1}`},
		{`{"cmd":"update_queue","queue":"q","revision":7}`, `"kind":"REVISION_MISMATCH"`},
		{`{"cmd":"producer","as":"p","queue":"none"}`, `"kind":"NOT_FOUND"`},
		{`{"cmd":"producer","as":"p","queue":"q","producer_id":"me"}`, `{"ok":true,"producer_id":"me"}`},
		{`{"cmd":"publish","on":"p","count":3,"size":8,"seed":1,"keys":["a","b"]}`, `{"offsets":[[0,3]],"ok":true}`},
		{`{"cmd":"try_publish","on":"p","count":2}`, `"kind":"`},
		{`{"cmd":"consumer","as":"c","queue":"q","group":"g"}`, `{"mode":"SHARED","ok":true,"start_offset":0}`},
		{`{"cmd":"receive","on":"c","count":3}`, `"key":"b","offset":1,"size":8`},
		{`{"cmd":"settle","on":"c","offsets":[[0,1],[2,1]],"action":"ACK"}`, `{"ok":true}`},
		{`{"cmd":"settle","on":"c","offsets":[[1,1]],"action":"PARK","reason":"why"}`, `{"ok":true}`},
		{`{"cmd":"receive","on":"c","idle_ms":20}`, `{"ok":true,"records":[]}`},
		{`{"cmd":"list_parked","queue":"q","group":"g"}`, `{"ok":true,"parked":[{"attempts":1,"offset":1,"reason":"why"}]}`},
		{`{"cmd":"release_parked","queue":"q","group":"g"}`, `{"ok":true,"released":1}`},
		{`{"cmd":"receive","on":"c","count":1}`, `"attempt":1`},
		{`{"cmd":"replay","as":"r","queue":"q","start":{"last":2},"stop":{"tail":true}}`, `{"ok":true}`},
		{`{"cmd":"receive","on":"r","count":9}`, `"offset":2`},
		{`{"cmd":"receive","on":"r"}`, `"kind":"END"`},
		{`{"cmd":"seek","queue":"q","group":"g","start":{"offset":2}}`, `{"cursor_offset":2,"ok":true}`},
		{`{"cmd":"credit","on":"p"}`, `"open":true`},
		{`{"cmd":"explain","queue":"q"}`, `"stalls":[`},
		{`{"cmd":"close","on":"c"}`, `{"ok":true}`},
		{`{"cmd":"close"}`, `{"ok":true}`},
	} {
		var c command
		if err := json.Unmarshal([]byte(step.in), &c); err != nil {
			t.Fatal(step.in, err)
		}
		out, _ := json.Marshal(d.answer(&c))
		if !strings.Contains(string(out), step.want) {
			t.Fatalf("%s\ngave %s\nnot  %s", step.in, out, step.want)
		}
	}
}

// The driver's payloads are those of every other driver.
func TestVectorsOfPayloads(t *testing.T) {
	text, err := os.ReadFile("../../../../tests/vectors/payloads.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Seed         uint64
		Record, Size int
		Head, Fnv    string
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatal(err, len(cases))
	}
	for _, v := range cases {
		m := (&command{Seed: v.Seed, Size: &v.Size}).record(v.Record)
		shown := show(&spillway.Delivery{Payload: m.Payload})
		if shown["fnv"] != v.Fnv || shown["size"] != v.Size || !strings.HasPrefix(hex.EncodeToString(m.Payload), v.Head) {
			t.Errorf("%+v: %v", v, shown)
		}
	}
}
