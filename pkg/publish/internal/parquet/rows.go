package parquet

import (
	"errors"

	"github.com/parquet-go/parquet-go"
)

var (
	errFew    = errors.New("it has too few values")
	errMany   = errors.New("it has more values than rows")
	errLevels = errors.New("its levels differ from those of the other columns")
	errLong   = errors.New("the row is too long")
)

// columnError is an error in a column.
type columnError struct {
	path []string
	err  error
}

func (e *columnError) Error() string { return e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }

// writer makes JSON of a row.
type writer struct {
	out  []byte
	most int // bytes of out at which the row is refused
	flag *node
}

// node appends the JSON of n, whose first value has the repetition level rep.
func (w *writer) node(n *node, rep int) error {
	if len(w.out) > w.most {
		return errLong
	}
	if n.shape == scalar {
		return w.scalar(n, rep)
	}
	if n.optional {
		v, err := peek(n.first)
		if err != nil {
			return err
		}
		if v.DefinitionLevel() < n.def {
			return w.absent(n, rep, n.def, "null")
		}
	}
	if n.shape == object {
		return w.object(n, rep)
	}
	return w.items(n, rep)
}

func (w *writer) scalar(n *node, rep int) error {
	l := n.leaf
	v, err := l.take(rep)
	switch {
	case err != nil:
	case v.DefinitionLevel() == l.maxDef && !v.IsNull():
		w.out, err = l.append(w.out, v)
	case n.optional && v.DefinitionLevel() == l.maxDef-1 && v.IsNull():
		w.out = append(w.out, "null"...)
	default:
		err = errLevels
	}
	if err != nil {
		return &columnError{l.path, err}
	}
	return nil
}

func (w *writer) object(n *node, rep int) error {
	w.out = append(w.out, '{')
	for _, child := range n.children {
		start, before := len(w.out), child.before
		if w.flag != nil && before[0] == ',' && w.out[start-1] == '{' { // the flag was first
			before = before[1:]
		}
		w.out = append(w.out, before...)
		if err := w.node(child, rep); err != nil {
			return err
		}
		if child == w.flag && string(w.out[start+len(before):]) != "true" {
			w.out = w.out[:start]
		}
	}
	w.out = append(w.out, '}')
	return nil
}

// items appends an array, or an object of pairs.
func (w *writer) items(n *node, rep int) error {
	brackets := "[]"
	if n.shape == pairs {
		brackets = "{}"
	}
	v, err := peek(n.first)
	if err != nil {
		return err
	}
	if v.DefinitionLevel() < n.itemDef {
		return w.absent(n, rep, n.itemDef, brackets)
	}
	w.out = append(w.out, brackets[0])
	for more := true; more; {
		if n.shape == pairs {
			err = w.pair(n, rep)
		} else {
			err = w.node(n.children[0], rep)
		}
		if err != nil {
			return err
		}
		rep = n.itemRep
		v, err := n.first.peek()
		if err != nil {
			return &columnError{n.first.path, err}
		}
		if more = v != nil && v.RepetitionLevel() == rep; more {
			w.out = append(w.out, ',')
		}
	}
	w.out = append(w.out, brackets[1])
	return nil
}

func (w *writer) pair(n *node, rep int) error {
	start := len(w.out)
	if err := w.node(n.children[0], rep); err != nil {
		return err
	}
	if w.out[start] != '"' {
		return &columnError{n.children[0].path, errors.New("it has a null, and is the key of a map")}
	}
	w.out = append(w.out, ':')
	if len(n.children) == 1 { // a map without values is a set
		w.out = append(w.out, "null"...)
		return nil
	}
	return w.node(n.children[1], rep)
}

// absent appends text for n, of which each leaf has one value below the definition level def.
func (w *writer) absent(n *node, rep, def int, text string) error {
	if err := skip(n, rep, def); err != nil {
		return err
	}
	w.out = append(w.out, text...)
	return nil
}

func skip(n *node, rep, def int) error {
	if n.leaf == nil {
		for _, child := range n.children {
			if err := skip(child, rep, def); err != nil {
				return err
			}
		}
		return nil
	}
	v, err := n.leaf.take(rep)
	if err == nil && (v.DefinitionLevel() >= def || !v.IsNull()) {
		err = errLevels
	}
	if err != nil {
		return &columnError{n.leaf.path, err}
	}
	return nil
}

// peek returns the next value of l, which must have one.
func peek(l *leaf) (*parquet.Value, error) {
	v, err := l.peek()
	if err == nil && v == nil {
		err = errFew
	}
	if err != nil {
		return nil, &columnError{l.path, err}
	}
	return v, nil
}
