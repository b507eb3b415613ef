// A purchase service as it is usually built: Gin in front, the decision in one Lua script in Redis for each request,
// the order put in a channel for a worker. "201" here means that Redis has counted the unit in its memory: neither the
// count nor the order is on a disk.
package main

import (
	"flag"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gomodule/redigo/redis"
)

// KEYS: stock, buyers. ARGV: buyer. Returns the units left, -1 when sold out, -2 when the buyer has one.
var purchase = redis.NewScript(2, `
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -2 end
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left <= 0 then return -1 end
redis.call('DECR', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])
return left - 1
`)

type order struct {
	Buyer     string
	CreatedAt time.Time
}

func problem(c *gin.Context, status int, code, title string) {
	c.JSON(status, gin.H{"type": "about:blank", "title": title, "status": status, "code": code})
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8089", "where to listen")
	redisAt := flag.String("redis", "127.0.0.1:6390", "Redis")
	stock := flag.Int("stock", 0, "units on sale")
	flag.Parse()

	pool := &redis.Pool{
		MaxIdle: 128, MaxActive: 128, Wait: true, IdleTimeout: time.Minute,
		Dial: func() (redis.Conn, error) { return redis.Dial("tcp", *redisAt) },
	}
	const stockKey, buyersKey = "{demo:widget}:stock", "{demo:widget}:buyers"
	conn := pool.Get()
	if _, err := conn.Do("DEL", buyersKey); err != nil {
		panic(err)
	}
	if _, err := conn.Do("SET", stockKey, *stock); err != nil {
		panic(err)
	}
	conn.Close()

	orders := make(chan order, 65536)
	written := 0
	go func() {
		for range orders {
			written++
		}
	}()

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.POST("/seckill/:campaign/:sku", func(c *gin.Context) {
		buyer := c.GetHeader("X-User-ID")
		if buyer == "" {
			problem(c, http.StatusUnauthorized, "unauthorized", "Who are you?")
			return
		}
		conn := pool.Get()
		left, err := redis.Int(purchase.Do(conn, stockKey, buyersKey, buyer))
		conn.Close()
		switch {
		case err != nil:
			problem(c, http.StatusServiceUnavailable, "overloaded", "Try again")
		case left == -2:
			problem(c, http.StatusConflict, "already-purchased", "Already purchased")
		case left < 0:
			problem(c, http.StatusConflict, "sold-out", "Sold out")
		default:
			orders <- order{buyer, time.Now()}
			c.JSON(http.StatusCreated, gin.H{
				"campaign": c.Param("campaign"), "sku": c.Param("sku"), "buyer": buyer,
				"quantity": 1, "amount_cents": 1999, "currency": "USD", "status": "pending",
			})
		}
	})
	if err := router.Run(*listen); err != nil {
		panic(err)
	}
}
