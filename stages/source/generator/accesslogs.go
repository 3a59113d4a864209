package generator

import "millrace/engine/event"

// accessLogs is the template access_logs: what Apache and nginx write about
// the requests for a shop, in the combined log format. The level of a line is
// that of its status, as readers of such logs have it.
var accessLogs = Content{
	Format:  formatText,
	Sources: []string{"www"},
	Levels:  map[string]float64{"INFO": 93, "WARN": 6, "ERROR": 1},
	Messages: []Message{
		accessLine(event.LevelInfo, "GET {page}", "{ok}", 12),
		accessLine(event.LevelInfo, "GET /products/{product}", "{ok}", 8),
		accessLine(event.LevelInfo, "GET /search?q={query}&page={attempt}", "{ok}", 3),
		accessLine(event.LevelInfo, "POST /cart/{product}", "{created}", 2),
		accessLine(event.LevelWarn, "GET /products/{product}", "404", 4),
		accessLine(event.LevelWarn, "GET /account", "{refused}", 3),
		accessLine(event.LevelWarn, "POST /login", "429", 1),
		accessLine(event.LevelError, "POST /checkout", "{failed}", 2),
		accessLine(event.LevelError, "GET /search?q={query}", "{failed}", 1),
	},
	Fields: map[string]Field{
		"client": {Kind: "ip", Session: true, MessageOnly: true},
		"user":   {Weighted: map[string]float64{"-": 80, "ann": 8, "ben": 6, "chris": 4, "dora": 2}, Session: true, MessageOnly: true},
		"page": {MessageOnly: true, Choice: []string{
			"/", "/index.html", "/cart", "/account", "/products", "/static/app.js", "/static/site.css", "/favicon.ico",
		}},
		"product": {Zipf: whole(1000, 9999), MessageOnly: true},
		"query":   {Choice: []string{"running+shoes", "usb-c+cable", "desk+lamp", "coffee+grinder", "rain+jacket"}, MessageOnly: true},
		"attempt": {Range: whole(1, 3), MessageOnly: true},
		"ok":      {Weighted: map[string]float64{"200": 90, "304": 8, "302": 2}, MessageOnly: true},
		"created": {Weighted: map[string]float64{"201": 9, "303": 1}, MessageOnly: true},
		"refused": {Weighted: map[string]float64{"401": 3, "403": 1}, MessageOnly: true},
		"failed":  {Weighted: map[string]float64{"500": 5, "502": 3, "503": 2}, MessageOnly: true},
		"bytes":   {Range: whole(120, 48_000), MessageOnly: true},
		"referer": {MessageOnly: true, Weighted: map[string]float64{
			"-": 40, "https://shop.example/": 40, "https://shop.example/search": 15, "https://search.example/": 5,
		}},
		"agent": {Session: true, MessageOnly: true, Weighted: map[string]float64{
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + webkit + " Chrome/126.0.0.0 Safari/537.36":                       50,
			"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)" + webkit + " Version/17.5 Safari/605.1.15":                   20,
			"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)" + webkit + " Version/17.5 Mobile/15E148 Safari/604.1": 20,
			"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                       8,
			"curl/8.7.1": 2,
		}},
	},
}

const webkit = " AppleWebKit/605.1.15 (KHTML, like Gecko)"

// accessLine is a line about a request.
func accessLine(level event.Level, request, status string, weight float64) Message {
	return Message{
		Level: level, Weight: weight,
		Text: `{client} - {user} [{time_clf}] "` + request + ` HTTP/1.1" ` + status + ` {bytes} "{referer}" "{agent}"`,
	}
}
