// SPDX-License-Identifier: Apache-2.0

// The stock RocketMQ Go client, with nothing configured but the nameserver's address, against a
// cluster. Arguments: nameserver address, broker address. Prints PASS or FAIL for each check.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	topic    = "InteropGo"
	queues   = 4
	messages = 3000
	patience = 60 * time.Second
)

var failed = false

func check(name string, step func() error) {
	if err := step(); err != nil {
		failed = true
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("PASS %s\n", name)
}

func body(n int) string {
	return strconv.Itoa(n) + ":" + strings.Repeat("x", n%500)
}

func message(n int) *primitive.Message {
	m := primitive.NewMessage(topic, []byte(body(n)))
	m.WithKeys([]string{"g-" + strconv.Itoa(n)})
	m.WithTag("tag-" + strconv.Itoa(n%3))
	return m
}

func createTopic(nameserver, broker string) error {
	a, err := admin.NewAdmin(admin.WithResolver(
		primitive.NewPassthroughResolver([]string{nameserver})))
	if err != nil {
		return err
	}
	defer a.Close()
	return a.CreateTopic(context.Background(), admin.WithTopicCreate(topic),
		admin.WithBrokerAddrCreate(broker), admin.WithReadQueueNums(queues),
		admin.WithWriteQueueNums(queues))
}

// send stores a third of the messages one by one, a third asynchronously, a third in batches.
func send(nameserver string) error {
	p, err := rocketmq.NewProducer(producer.WithNameServer([]string{nameserver}))
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var answered sync.WaitGroup
	var mutex sync.Mutex
	var bad error
	note := func(result *primitive.SendResult, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if err == nil && result.Status != primitive.SendOK {
			err = fmt.Errorf("status %d", result.Status)
		}
		if err != nil && bad == nil {
			bad = err
		}
	}
	var batch []*primitive.Message
	for n := 0; n < messages; n++ {
		switch n % 3 {
		case 0:
			note(p.SendSync(ctx, message(n)))
		case 1:
			answered.Add(1)
			err := p.SendAsync(ctx, func(_ context.Context, r *primitive.SendResult, err error) {
				note(r, err)
				answered.Done()
			}, message(n))
			if err != nil {
				return err
			}
		default:
			if batch = append(batch, message(n)); len(batch) == 10 {
				note(p.SendSync(ctx, batch...))
				batch = nil
			}
		}
	}
	answered.Wait()
	return bad
}

// receive runs a push consumer until it has what is wanted, and checks every body.
func receive(nameserver, group string, selector consumer.MessageSelector,
	wanted func(n int) bool) error {
	c, err := rocketmq.NewPushConsumer(consumer.WithNameServer([]string{nameserver}),
		consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	got := map[int]bool{}
	var bad error
	err = c.Subscribe(topic, selector, func(_ context.Context,
		batch ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mutex.Lock()
		defer mutex.Unlock()
		for _, m := range batch {
			n, err := strconv.Atoi(strings.Split(string(m.Body), ":")[0])
			if err != nil || string(m.Body) != body(n) || m.GetKeys() != "g-"+strconv.Itoa(n) ||
				!wanted(n) {
				bad = fmt.Errorf("unexpected message %v", m)
			}
			got[n] = true
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Shutdown()
	count := 0
	for n := 0; n < messages; n++ {
		if wanted(n) {
			count++
		}
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		mutex.Lock()
		done := len(got) >= count || bad != nil
		mutex.Unlock()
		if done {
			break
		}
	}
	mutex.Lock()
	defer mutex.Unlock()
	if bad == nil && len(got) != count {
		bad = fmt.Errorf("received %d of %d messages", len(got), count)
	}
	return bad
}

func main() {
	rlog.SetLogLevel("error")
	nameserver, broker := os.Args[1], os.Args[2]
	check("go: the admin creates a topic", func() error { return createTopic(nameserver, broker) })
	check("go: 3000 messages sync, async and in batches are acknowledged",
		func() error { return send(nameserver) })
	check("go: a push consumer gets all of them unchanged", func() error {
		return receive(nameserver, "interop-go", consumer.MessageSelector{},
			func(int) bool { return true })
	})
	check("go: a tag expression selects exactly its messages", func() error {
		return receive(nameserver, "interop-go-tags",
			consumer.MessageSelector{Type: consumer.TAG, Expression: "tag-1"},
			func(n int) bool { return n%3 == 1 })
	})
	fmt.Println("DONE")
	if failed {
		os.Exit(1)
	}
}
