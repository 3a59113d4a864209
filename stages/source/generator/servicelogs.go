package generator

import "millrace/engine/event"

// serviceLogs is the template service_logs: what eight services of a shop
// write. It is written in the vocabulary that pipeline files have.
var serviceLogs = Content{
	Sources: []string{
		"api-gateway", "auth-service", "user-service", "order-service",
		"payment-service", "inventory-service", "notification-service", "search-service",
	},
	Fields: map[string]Field{
		"thread_id":   {Range: whole(1, 32), Prefix: "worker-"},
		"instance_id": {Kind: "instance"},
		"request_id":  {Hex: 16, Prefix: "req-", Session: true},
		"user_id":     {Range: whole(1, 50_000), Prefix: "user-", Session: true},

		"amount":   {Range: Range{min: 199, max: 49_999, decimals: 2, given: true}, MessageOnly: true},
		"attempt":  {Range: whole(1, 3), MessageOnly: true},
		"channel":  {Weighted: map[string]float64{"email": 70, "push": 25, "sms": 5}, MessageOnly: true},
		"count":    {Range: whole(1, 250), MessageOnly: true},
		"currency": {Weighted: map[string]float64{"EUR": 60, "USD": 30, "GBP": 10}, MessageOnly: true},
		"ip":       {Kind: "ip", Session: true, MessageOnly: true},
		"method":   {Weighted: map[string]float64{"GET": 75, "POST": 18, "PUT": 5, "DELETE": 2}, MessageOnly: true},
		"ms":       {Range: whole(1, 480), MessageOnly: true},
		"order_id": {Range: whole(100_000, 999_999), Prefix: "ord-", Session: true, MessageOnly: true},
		"path": {MessageOnly: true, Choice: []string{
			"/api/orders", "/api/orders/recent", "/api/cart", "/api/products", "/api/search", "/api/users/me", "/api/payments", "/api/login",
		}},
		"percent":  {Range: whole(80, 99), MessageOnly: true},
		"provider": {Choice: []string{"adyen", "stripe", "paypal"}, MessageOnly: true},
		"query":    {Choice: []string{"running shoes", "usb-c cable", "desk lamp", "coffee grinder", "rain jacket"}, MessageOnly: true},
		"seconds":  {Range: whole(5, 30), MessageOnly: true},
		"shard":    {Range: whole(0, 15), MessageOnly: true},
		"sku":      {Range: whole(1_000, 9_999), Prefix: "SKU-", MessageOnly: true},
		"slow_ms":  {Range: whole(1_000, 9_500), MessageOnly: true},
		"status":   {Weighted: map[string]float64{"200": 90, "201": 6, "204": 2, "304": 2}, MessageOnly: true},
	},
	Messages: []Message{
		{Level: event.LevelTrace, Source: "api-gateway", Text: "Entering filter chain for {method} {path} from {ip}"},
		{Level: event.LevelTrace, Source: "order-service", Text: "Loaded order {order_id} with {count} lines from shard {shard}"},
		{Level: event.LevelTrace, Source: "search-service", Text: "Tokenized query \"{query}\" in {ms} us"},

		{Level: event.LevelDebug, Source: "auth-service", Text: "Token of {user_id} validated, expires in {seconds} minutes", Weight: 3},
		{Level: event.LevelDebug, Source: "user-service", Text: "Cache hit for profile {user_id}, age {seconds} s", Weight: 3},
		{Level: event.LevelDebug, Source: "user-service", Text: "Cache miss for profile {user_id}, loading from database"},
		{Level: event.LevelDebug, Source: "inventory-service", Text: "Reserved {attempt} of {sku}, {count} left", Weight: 2},
		{Level: event.LevelDebug, Source: "search-service", Text: "Query plan for \"{query}\" uses shard {shard}"},
		{Level: event.LevelDebug, Source: "api-gateway", Text: "Connection pool: {count} active, request {request_id} waited {ms} us"},

		{Level: event.LevelInfo, Source: "api-gateway", Text: "{method} {path} {status} in {ms} ms from {ip}", Weight: 10},
		{Level: event.LevelInfo, Source: "auth-service", Text: "User {user_id} logged in from {ip}", Weight: 4},
		{Level: event.LevelInfo, Source: "auth-service", Text: "User {user_id} logged out"},
		{Level: event.LevelInfo, Source: "user-service", Text: "Profile of {user_id} updated by request {request_id}", Weight: 2},
		{Level: event.LevelInfo, Source: "order-service", Text: "Order {order_id} created by {user_id}, total {amount} {currency}", Weight: 4},
		{Level: event.LevelInfo, Source: "order-service", Text: "Order {order_id} shipped", Weight: 2},
		{Level: event.LevelInfo, Source: "payment-service", Text: "Payment of {amount} {currency} for order {order_id} captured by {provider} in {ms} ms", Weight: 4},
		{Level: event.LevelInfo, Source: "payment-service", Text: "Refund of {amount} {currency} issued for order {order_id}"},
		{Level: event.LevelInfo, Source: "inventory-service", Text: "Stock of {sku} changed to {count}", Weight: 3},
		{Level: event.LevelInfo, Source: "notification-service", Text: "Sent {channel} about order {order_id} to {user_id}", Weight: 3},
		{Level: event.LevelInfo, Source: "search-service", Text: "Search \"{query}\" returned {count} results in {ms} ms", Weight: 4},

		{Level: event.LevelWarn, Source: "api-gateway", Text: "Slow response: {method} {path} took {slow_ms} ms", Weight: 3},
		{Level: event.LevelWarn, Source: "api-gateway", Text: "Rate limit reached for {ip}, {count} requests refused"},
		{Level: event.LevelWarn, Source: "auth-service", Text: "Failed login for {user_id} from {ip}, attempt {attempt} of 3", Weight: 3},
		{Level: event.LevelWarn, Source: "payment-service", Text: "Payment for order {order_id} declined by {provider}, attempt {attempt}", Weight: 2},
		{Level: event.LevelWarn, Source: "inventory-service", Text: "Stock of {sku} is low: {attempt} left", Weight: 2},
		{Level: event.LevelWarn, Source: "notification-service", Text: "Retrying {channel} to {user_id} in {seconds} s, attempt {attempt}"},
		{Level: event.LevelWarn, Source: "search-service", Text: "Index of shard {shard} is {percent} % full"},
		{Level: event.LevelWarn, Source: "user-service", Text: "Database connection pool at {percent} %"},

		{Level: event.LevelError, Source: "api-gateway", Text: "Upstream timed out: {method} {path} after {seconds} s", Weight: 3},
		{Level: event.LevelError, Source: "order-service", Text: "Order {order_id} could not be stored: deadlock detected, transaction rolled back"},
		{Level: event.LevelError, Source: "payment-service", Text: "{provider} answered 502 for order {order_id} after {slow_ms} ms", Weight: 2},
		{Level: event.LevelError, Source: "user-service", Text: "Query for profile {user_id} failed: connection reset by peer"},
		{Level: event.LevelError, Source: "notification-service", Text: "Giving up on {channel} to {user_id} after 3 attempts"},
		{Level: event.LevelError, Source: "inventory-service", Text: "Reservation of {sku} for order {order_id} failed: version conflict"},

		{Level: event.LevelFatal, Source: "search-service", Text: "Shard {shard} is corrupt, shutting down"},
		{Level: event.LevelFatal, Source: "order-service", Text: "Out of memory: heap at {percent} %, shutting down"},
		{Level: event.LevelFatal, Source: "payment-service", Text: "No connection to database for {seconds} s, shutting down"},
	},
}

func whole(low, high int64) Range { return Range{min: low, max: high, given: true} }
