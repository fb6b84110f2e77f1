package jinja_test

import (
	"errors"
	"fmt"

	"github.com/gsmeval/gsmeval/decode/chat/jinja"
)

func Example() {
	t, err := jinja.Parse(`{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Render(map[string]jinja.Value{
		"messages": jinja.List(jinja.NewDict("role", "user", "content", " What is 2+2? ")),
	}))
	// Output: <|user|>What is 2+2? <nil>
}

func ExampleFunction() {
	refuse := jinja.Function{
		Name: "raise_exception", Params: []string{"message"},
		Call: func(args []jinja.Value) (jinja.Value, error) {
			return nil, fmt.Errorf("the template says: %v", args[0])
		},
	}
	t, err := jinja.Parse("{% if not messages %}\n{{ raise_exception('no messages') }}{% endif %}")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = t.Render(map[string]jinja.Value{"messages": jinja.List(), "raise_exception": refuse})
	fmt.Println(err)
	// Output: line 2: the template says: no messages
}

func ExampleErrLimit() {
	t, err := jinja.Parse("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = t.Render(nil)
	fmt.Println(errors.Is(err, jinja.ErrLimit))
	// Output: true
}
