// Package budget counts the bytes that are kept on behalf of clients. Whoever keeps some charges an account, and gives
// them back with a negative charge; the budget is the sum of its accounts. Nothing here locks: a budget belongs to one
// goroutine, the loop.
package budget

// Budget is a sum of accounts with a bound.
type Budget struct {
	BytesMax int // what may be kept in all, in bytes
	used     int
}

// Account counts what one kind of holder keeps. A nil account counts nothing.
type Account struct {
	budget *Budget
	bytes  int
}

// Account opens an account whose charges count against the budget.
func (b *Budget) Account() *Account { return &Account{budget: b} }

// Used is the sum of all accounts, in bytes.
func (b *Budget) Used() int { return b.used }

// Charge counts n bytes more, or fewer when n is negative.
func (a *Account) Charge(n int) {
	if a != nil {
		a.bytes += n
		a.budget.used += n
	}
}

// Bytes is what the account's holders keep.
func (a *Account) Bytes() int {
	if a == nil {
		return 0
	}
	return a.bytes
}
