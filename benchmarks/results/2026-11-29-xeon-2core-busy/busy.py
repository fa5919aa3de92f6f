import time,sys
end=time.time()+float(sys.argv[1])
while time.time()<end:
    t=time.time()+0.05
    while time.time()<t: pass
    time.sleep(0.05)
