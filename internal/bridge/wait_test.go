package bridge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		began := time.Now()
		var at []time.Duration
		var told []string
		errs := []error{errors.New("a"), errors.New("b"), nil, errors.New("c"), errors.New("end")}
		Every(ctx, time.Minute, wake, func(context.Context) error {
			at = append(at, time.Since(began))
			err := errs[len(at)-1]
			if len(at) == len(errs) {
				stop()
			}
			return err
		}, func(err error) { told = append(told, err.Error()) })
		if len(at) != len(errs) || at[0] != 0 || at[1] != time.Minute || at[4] != 4*time.Minute {
			t.Errorf("it was called at %v", at)
		}
		if len(told) != 2 || told[0] != "a" || told[1] != "c" {
			t.Errorf("%q were told; one of each row is", told)
		}
	})
}
