//go:build !linux && !darwin

package memory

import "errors"

func free(string) (int64, error) { return 0, errors.New("this benchmark needs Linux: it reads /proc") }
