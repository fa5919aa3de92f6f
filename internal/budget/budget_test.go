package budget

import "testing"

func TestBudgetIsTheSumOfItsAccounts(t *testing.T) {
	t.Parallel()
	b := Budget{BytesMax: 100}
	inputs, logs := b.Account(), b.Account()
	inputs.Charge(30)
	logs.Charge(20)
	inputs.Charge(-10)
	if inputs.Bytes() != 20 || logs.Bytes() != 20 || b.Used() != 40 {
		t.Errorf("inputs %d, logs %d, in all %d", inputs.Bytes(), logs.Bytes(), b.Used())
	}
	var none *Account
	none.Charge(1)
	if none.Bytes() != 0 {
		t.Error("no account counts")
	}
}
