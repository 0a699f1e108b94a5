// franz-go in a group; ../../python/groups.py says what a member is told and what it tells.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// owned is what a member has, told whenever it changes.
type owned struct {
	sync.Mutex
	partitions []int32
}

func (o *owned) change(with []int32, without []int32) {
	o.Lock()
	defer o.Unlock()
	o.partitions = slices.DeleteFunc(append(o.partitions, with...), func(p int32) bool {
		return slices.Contains(without, p)
	})
	slices.Sort(o.partitions)
	o.partitions = slices.Compact(o.partitions)
	words := []string{"owns"}
	for _, p := range o.partitions {
		words = append(words, fmt.Sprint(p))
	}
	fmt.Println(strings.Join(words, " "))
}

func main() {
	bootstrap, topic, group, assignor, instance :=
		os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	balancer := map[string]kgo.GroupBalancer{
		"range":              kgo.RangeBalancer(),
		"roundrobin":         kgo.RoundRobinBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}[assignor]
	var mine owned
	fewer := func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
		mine.change(nil, places[topic])
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.RebalanceTimeout(7 * time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(
			func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
				mine.change(places[topic], nil)
			}),
		kgo.OnPartitionsRevoked(fewer), kgo.OnPartitionsLost(fewer),
	}
	if instance != "-" {
		options = append(options, kgo.InstanceID(instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		panic(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		orders := bufio.NewScanner(os.Stdin)
		for orders.Scan() && orders.Text() != "leave" {
		}
		leave()
	}()
	for ctx.Err() == nil {
		got := client.PollFetches(ctx)
		got.EachRecord(func(record *kgo.Record) {
			fmt.Println("got", record.Partition, record.Offset)
		})
		if !got.Empty() {
			// While the group rebalances it is refused: who has the partition next reads again.
			_ = client.CommitUncommittedOffsets(context.Background())
		}
	}
	client.Close()
	fmt.Println("left")
}
