package pieces

import "testing"

func TestDimensions(t *testing.T) {
	const answer = `{"data":[{"embedding":[3,4,12],"index":0},{"embedding":"AABAQAAAgEAAAEBB","index":1}],"model":"m"}`
	const want = `{"data":[{"embedding":[0.6,0.8],"index":0},{"embedding":"mpkZP83MTD8=","index":1}],"model":"m"}`
	if got, err := Dimensions(2).Cut([]byte(answer)); err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, same := range []string{answer, `[1]`, `{"x":1}`} {
		if got, err := Dimensions(0).Cut([]byte(same)); err != nil || string(got) != same {
			t.Errorf("%s became %s, %v", same, got, err)
		}
	}
	if _, err := Dimensions(4).Cut([]byte(answer)); err == nil {
		t.Error("there are more dimensions than numbers")
	}
	if got, err := Dimensions(1).Cut([]byte(`{"data":[{"embedding":[0,1]}]}`)); err != nil ||
		string(got) != `{"data":[{"embedding":[0]}]}` {
		t.Errorf("nothing became %s, %v", got, err)
	}
}
