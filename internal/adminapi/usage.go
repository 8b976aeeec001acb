package adminapi

// UsageAnswer is the answer of GET /admin/v1/usage.
type UsageAnswer struct {
	By   []string     `json:"by"`
	Sums []UsageTotal `json:"sums"` // in the order of their groups
}

// UsageTotal is what the requests of one group took.
type UsageTotal struct {
	Group            []string `json:"group"` // as in by
	Requests         int64    `json:"requests"`
	PromptTokens     int64    `json:"prompt_tokens"`
	CachedTokens     int64    `json:"cached_tokens"` // of the prompts
	CompletionTokens int64    `json:"completion_tokens"`
	QueueSeconds     float64  `json:"queue_seconds"`
	SwapSeconds      float64  `json:"swap_seconds"`
	GenerationSecond float64  `json:"generation_seconds"`
}
