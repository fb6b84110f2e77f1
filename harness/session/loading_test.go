package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		tell := Loading("models/big", &b)
		for i := range 50 {
			tell(int64(i)*40e6, 2e9)
			time.Sleep(100 * time.Millisecond)
		}
		tell(2e9, 2e9)
		const want = "loading models/big: 0.4 of 2.0 GB, 400 MB/s\nloading models/big: 1.2 of 2.0 GB, 400 MB/s\nloading models/big: 2.0 of 2.0 GB, 400 MB/s\n"
		if b.String() != want {
			t.Errorf("said\n%swant\n%s", b.String(), want)
		}
		b.Reset()
		tell = Loading("models/small", &b)
		time.Sleep(time.Minute) // before the weights
		tell(0, 10)
		time.Sleep(900 * time.Millisecond)
		tell(10, 10)
		if b.String() != "" {
			t.Errorf("a short load said %q", b.String())
		}
	})
}

func TestWorking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		tell := Working(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })
		for i := range int64(12) {
			time.Sleep(time.Second)
			tell("tokens", 1+i, 12)
		}
		tell("tokens", 1, 2) // another computation, that is soon over
		time.Sleep(time.Second)
		tell("tokens", 2, 2)
		const want = "3 of 12 tokens, about 6s left\n8 of 12 tokens, about 4s left\n"
		if b.String() != want {
			t.Errorf("said\n%swant\n%s", b.String(), want)
		}
	})
}
