// franz-go: pure Go, strict about what it reads. The records are those of ../python/records.py.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 3
	count      = 300
	alphabet   = "abcdefghijklmnopqrstuvwxyz"
)

var (
	lengths           = []int{0, 1, 10, 100, 1000, 20000}
	bootstrap, prefix string
)

func key(i int) []byte {
	if i%10 == 7 {
		return nil
	}
	return fmt.Appendf(nil, "k%d", i)
}

func value(i int) []byte {
	length := lengths[i%len(lengths)]
	text := fmt.Sprintf("%d:", i) + strings.Repeat(alphabet, length/26+1)
	return []byte(text[:length])
}

func record(topic string, i int) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: int32(i % partitions), Key: key(i), Value: value(i),
		Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}},
	}
}

func client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5 * time.Millisecond),
	}, opts...)...)
}

func create(ctx context.Context, topic string, count int32) error {
	c, err := client()
	if err != nil {
		return err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	made, err := admin.CreateTopic(ctx, count, 1, nil, topic)
	if err != nil {
		return err
	}
	if made.Err != nil {
		return made.Err
	}
	// Until every partition answers, what is sent may be refused, and with acks 0 lost.
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil && ends.Error() == nil && len(ends[topic]) == int(count) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the new topic does not answer: %w (%v)", ctx.Err(), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func produce(ctx context.Context, topic string, opts ...kgo.Opt) error {
	c, err := client(opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := make([]*kgo.Record, count)
	for i := range sent {
		sent[i] = record(topic, i)
	}
	return c.ProduceSync(ctx, sent...).FirstErr()
}

func read(ctx context.Context, topic string) error {
	from := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	c, err := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer c.Close()
	got := map[int32][]*kgo.Record{}
	for seen := 0; seen < count; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", seen, count, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], r)
			seen++
		})
	}
	for i := range count {
		at := i / partitions
		r := got[int32(i%partitions)][at]
		want := record(topic, i)
		if r.Offset != int64(at) || !bytes.Equal(r.Key, want.Key) || (r.Key == nil) != (want.Key == nil) ||
			!bytes.Equal(r.Value, want.Value) || len(r.Headers) != 1 || r.Headers[0].Key != "n" ||
			!bytes.Equal(r.Headers[0].Value, want.Headers[0].Value) {
			return fmt.Errorf("record %d came back as offset %d key %q value %.40q", i, r.Offset, r.Key, r.Value)
		}
	}
	return nil
}

// lookup asks for offsets by timestamp, for the end, and removes the topic.
func lookup(ctx context.Context) error {
	topic := prefix + "-lookup"
	if err := create(ctx, topic, 1); err != nil {
		return err
	}
	c, err := client()
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 20 {
		at := time.UnixMilli(1_700_000_000_000 + int64(i)*1000)
		r := &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: at}
		if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	admin := kadm.NewClient(c)
	for _, look := range []struct{ at, offset int64 }{{0, 0}, {1_700_000_007_000, 7}, {1_700_000_007_001, 8}} {
		listed, err := admin.ListOffsetsAfterMilli(ctx, look.at, topic)
		if err != nil {
			return err
		}
		found, _ := listed.Lookup(topic, 0)
		if found.Err != nil || found.Offset != look.offset {
			return fmt.Errorf("timestamp %d: offset %d, not %d (%v)", look.at, found.Offset, look.offset, found.Err)
		}
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if end, _ := ends.Lookup(topic, 0); end.Err != nil || end.Offset != 20 {
		return fmt.Errorf("end offset %d, not 20 (%v)", end.Offset, end.Err)
	}
	deleted, err := admin.DeleteTopic(ctx, topic)
	if err != nil {
		return err
	}
	return deleted.Err
}

func run(name string, body func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := body(ctx); err != nil {
		fmt.Printf("%s\tfail\t%s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	fmt.Printf("%s\tok\t\n", name)
}

func roundTrip(name string, opts ...kgo.Opt) {
	run(name, func(ctx context.Context) error {
		topic := prefix + "-" + name
		if err := create(ctx, topic, partitions); err != nil {
			return err
		}
		if err := produce(ctx, topic, opts...); err != nil {
			return err
		}
		return read(ctx, topic)
	})
}

func main() {
	bootstrap, prefix = os.Args[1], os.Args[2]
	for _, c := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	} {
		roundTrip("codec-"+c.name, kgo.ProducerBatchCompression(c.codec))
	}
	for _, a := range []struct {
		name string
		acks kgo.Acks
	}{{"0", kgo.NoAck()}, {"1", kgo.LeaderAck()}, {"all", kgo.AllISRAcks()}} {
		roundTrip("acks-"+a.name, kgo.RequiredAcks(a.acks), kgo.DisableIdempotentWrite())
	}
	roundTrip("idempotent", kgo.RequiredAcks(kgo.AllISRAcks()))
	run("lookup", lookup)
}
