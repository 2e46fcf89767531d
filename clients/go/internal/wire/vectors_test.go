package wire

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	pb "spillway.dev/clients/go/spillwaypb"
)

type vectorRecord struct {
	Name, Payload, Key, Hex string
	Headers                 [][2]string
	Bytes                   int
}

// vectorFile is what is read here of tests/vectors/wire.json.
type vectorFile struct {
	Records []vectorRecord
	Publish []struct {
		FirstSequence uint64 `json:"first_sequence"`
		Records       []string
		Hex           string
	}
	Confirm []struct {
		Runs []struct {
			FirstSequence uint64 `json:"first_sequence"`
			Count         uint64
			FirstOffset   uint64 `json:"first_offset"`
			Duplicate     bool
			OffsetUnknown bool `json:"offset_unknown"`
		}
		Durability string
		Grant      *struct {
			Epoch       uint64
			Limit       struct{ Messages, Bytes uint64 }
			Reason      string
			ReasonAgeMs uint64 `json:"reason_age_ms"`
			WindowUsed  uint64 `json:"window_used_bytes"`
			WindowBytes uint64 `json:"window_bytes"`
		}
		Hex string
	}
	Delivery []struct {
		Runs []struct {
			FirstOffset uint64 `json:"first_offset"`
			Count       uint32
			AppendedAt  uint64 `json:"appended_at_unix_ms"`
			Attempt     uint32
		}
		Records []string
		Hex     string
	}
	MalformedDelivery []struct{ Name, Hex string } `json:"malformed_delivery"`
}

func readVectors(t *testing.T) (out vectorFile, byName map[string]vectorRecord) {
	t.Helper()
	text, err := os.ReadFile("../../../../tests/vectors/wire.json")
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	byName = map[string]vectorRecord{}
	for _, r := range out.Records {
		byName[r.Name] = r
	}
	if len(out.Publish) == 0 || len(out.Confirm) == 0 || len(out.Delivery) == 0 || len(out.MalformedDelivery) == 0 {
		t.Fatal("no vectors")
	}
	return out, byName
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r vectorRecord) append(t *testing.T, b []byte) []byte {
	t.Helper()
	var headers []Header
	for _, h := range r.Headers {
		headers = append(headers, Header{h[0], bytesOf(t, h[1])})
	}
	payload, key := bytesOf(t, r.Payload), bytesOf(t, r.Key)
	size := RecordSize(payload, key, headers)
	if size != r.Bytes {
		t.Errorf("%s costs %d bytes, want %d", r.Name, size, r.Bytes)
	}
	return AppendRecord(b, size, payload, key, headers)
}

func TestVectorsOfRecords(t *testing.T) {
	file, _ := readVectors(t)
	for _, r := range file.Records {
		b := r.append(t, nil)
		if got := hex.EncodeToString(b[len(b)-r.Bytes:]); got != r.Hex {
			t.Errorf("%s: %s, want %s", r.Name, got, r.Hex)
		}
		var rec Record
		var arena []Header
		if !DecodeRecord(bytesOf(t, r.Hex), &rec, &arena) || rec.Size != r.Bytes ||
			hex.EncodeToString(rec.Payload) != r.Payload || hex.EncodeToString(rec.Key) != r.Key || len(rec.Headers) != len(r.Headers) {
			t.Fatalf("%s: %+v", r.Name, rec)
		}
		for i, h := range rec.Headers {
			if h.Name != r.Headers[i][0] || hex.EncodeToString(h.Value) != r.Headers[i][1] {
				t.Errorf("%s: header %d is %v", r.Name, i, h)
			}
		}
	}
}

func TestVectorsOfPublish(t *testing.T) {
	file, byName := readVectors(t)
	for _, p := range file.Publish {
		var body []byte
		for _, name := range p.Records {
			body = byName[name].append(t, body)
		}
		got := append(AppendPublishHead(nil, p.FirstSequence, len(body)), body...)
		if hex.EncodeToString(got) != p.Hex {
			t.Errorf("%x, want %s", got, p.Hex)
		}
	}
}

func TestVectorsOfConfirm(t *testing.T) {
	file, _ := readVectors(t)
	for _, c := range file.Confirm {
		var f PublishFrame
		if err := f.Decode(bytesOf(t, c.Hex)); err != nil || !f.IsConfirm || f.IsGrant != (c.Grant != nil) {
			t.Fatal(err, f)
		}
		var want []ConfirmRun
		for _, r := range c.Runs {
			want = append(want, ConfirmRun{r.FirstSequence, r.Count, r.FirstOffset, r.Duplicate, r.OffsetUnknown})
		}
		if !reflect.DeepEqual(f.Runs, want) || f.Durability.String() != "DURABILITY_"+c.Durability {
			t.Errorf("%+v, want %+v", f, c)
		}
		if g := c.Grant; g != nil {
			reason := pb.CreditReason(pb.CreditReason_value["CREDIT_REASON_"+g.Reason])
			if f.Grant != (Grant{g.Epoch, g.Limit.Messages, g.Limit.Bytes, reason, g.ReasonAgeMs, g.WindowUsed, g.WindowBytes}) {
				t.Errorf("%+v, want %+v", f.Grant, g)
			}
		}
	}
}

func TestVectorsOfDelivery(t *testing.T) {
	file, byName := readVectors(t)
	for _, d := range file.Delivery {
		var f ConsumeFrame
		if err := f.Decode(bytesOf(t, d.Hex)); err != nil || !f.IsDelivery || len(f.Records) != len(d.Records) {
			t.Fatal(err, f)
		}
		var want []DeliveryRun
		for _, r := range d.Runs {
			want = append(want, DeliveryRun{r.FirstOffset, r.Count, r.AppendedAt, r.Attempt})
		}
		if !reflect.DeepEqual(f.Runs, want) {
			t.Errorf("%+v, want %+v", f.Runs, want)
		}
		var cost int
		for i, name := range d.Records {
			cost += byName[name].Bytes
			if hex.EncodeToString(f.Records[i]) != byName[name].Hex {
				t.Errorf("record %d is %x, want %s", i, f.Records[i], name)
			}
		}
		if f.Bytes != uint64(cost) {
			t.Errorf("costs %d, want %d", f.Bytes, cost)
		}
	}
	for _, m := range file.MalformedDelivery {
		var f ConsumeFrame
		if f.Decode(bytesOf(t, m.Hex)) == nil {
			t.Errorf("%s: taken", m.Name)
		}
	}
}
