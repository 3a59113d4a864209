//go:build real

package sql

import ("testing";"sync";"time";"os/exec";"sync/atomic"
"millrace/engine/event";"millrace/engine/stage")

func TestZZRestart(t *testing.T){ p:=postgresPlace(t); c:=p.config(p.withAttributes); w:=p.open(t,c)
 var wg sync.WaitGroup; var fails, batches atomic.Int64; stop:=make(chan struct{})
 for range 4 { wg.Go(func(){ for { select{case <-stop: return; default:}; b:=event.NewBatch(some(100)); for { err:=w.Write(t.Context(),b); if err==nil{batches.Add(1);break}; if stage.ClassOf(err)!=stage.Retryable{t.Errorf("%v",err);return}; if fails.Add(1)<8 {t.Log(err)}; time.Sleep(50*time.Millisecond)} } }) }
 for range 2 { time.Sleep(500*time.Millisecond)
 out,err:=exec.Command("su","postgres","-c","/usr/lib/postgresql/15/bin/pg_ctl -D /tmp/sqlpg/data -m immediate -w stop; sleep 1; /usr/lib/postgresql/15/bin/pg_ctl -D /tmp/sqlpg/data -o '-p 25432 -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp/sqlpg -c max_connections=60' -l /tmp/sqlpg/log -w start >/dev/null 2>&1").CombinedOutput(); if err!=nil{t.Fatal(err,string(out))} ; time.Sleep(time.Second)}
 close(stop); wg.Wait(); p.reads.Exec("select 1"); t.Log(batches.Load(), fails.Load(), p.rows(t,c.Table), p.rows(t,c.AttributesTable))
 if p.rows(t,c.Table)!=int(batches.Load())*100||p.rows(t,c.AttributesTable)!=int(batches.Load())*400{t.Error("wrong")}}
