import sys, time; from pathlib import Path
def test_look(make_story, neighbourhood, make_results):
    from mmgraph.report import write
    t=time.time(); p=write(make_story(points=600, neighbourhood=neighbourhood), Path("/tmp/look/a.html")); print("sec", time.time()-t, p.stat().st_size)
    t=time.time(); write(make_story(), Path("/tmp/look/b.html")); print("sec", time.time()-t)
    seven=tuple("Theory Neural_Networks Reinforcement_Learning Case_Based Genetic_Algorithms Probabilistic_Methods Rule_Learning".split())
    write(make_story(make_results(runs=1, classes=seven, variants={"full":.8,"majority":.3}), points=30), Path("/tmp/look/c.html"))
