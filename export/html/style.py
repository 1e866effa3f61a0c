"""The page's style sheet: light and dark, readable from a phone's width on."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--page:#fff;--panel:#f5f6f8;--text:#1c1f24;--soft:#555d68;--line:#d5dae0;
--float:#1f63b5;--int8:#b8430a;--good:#146c37;--bad:#b3161b;--m0:#bcd4f2;--m1:#f3cbae;--m2:#bfe0c6;--m3:#dccbee}
@media screen and (prefers-color-scheme:dark){:root{--page:#14171c;--panel:#1d2128;--text:#e7e9ec;--soft:#a9b1bc;
--line:#3a424d;--float:#7db7ff;--int8:#ffa263;--good:#66d490;--bad:#ff8d85;--m0:#264b78;--m1:#74401d;--m2:#27573a;--m3:#523d70}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1180px;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:.4em 0}h2{font-size:1.2rem;margin:2em 0 .5em;padding-top:.6em;
border-top:1px solid var(--line)}h3{font-size:1rem;margin:1.4em 0 .4em}p{max-width:46em;margin:.5em 0}
nav{display:flex;flex-wrap:wrap;gap:.2em 1em;margin:.8em 0}a{color:var(--float)}
.soft,figcaption,caption{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,250px),1fr));gap:12px;margin:1em 0;padding:0}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tile dt{color:var(--soft);font-size:.85rem}.tile dd{margin:0}.tile .figure{font-size:1.35rem;font-weight:600}
.verdict{font-size:1.05rem}.good{color:var(--good)}.bad{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:16px}
figure{margin:0}figcaption{font-size:.85rem}.charts figure{max-width:560px}
.legend{display:inline-block;margin-left:.9em;white-space:nowrap}.key{display:inline-block;width:.8em;height:.8em;
margin-right:.35em;border-radius:2px;vertical-align:-.06em}
.key.float{background:var(--float)}.key.int8{background:var(--int8)}.key.normal{background:var(--good)}
.key.anomaly{background:var(--bad)}
.scroll{overflow-x:auto;max-width:100%;margin:.8em 0;-webkit-overflow-scrolling:touch}
caption{position:sticky;left:0;max-width:calc(100vw - 40px)}
.scroll:focus-visible{outline:2px solid var(--float);outline-offset:2px}
table{border-collapse:collapse;font-size:.88rem;overflow-wrap:normal}caption{text-align:left;padding-bottom:4px;caption-side:top}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:middle;white-space:nowrap}
thead th{border-bottom:2px solid var(--line)}tbody th{font-weight:600}td.wide{white-space:normal;min-width:260px}
th.number,td.number{text-align:right;font-variant-numeric:tabular-nums}
svg{display:block}svg.chart{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}
svg text.op{font-weight:600;font-size:12px}
svg text.op,svg.plan .memory+text,svg text.name{fill:var(--text)}
.axis{stroke:var(--soft)}.grid{stroke:var(--line)}.guide{stroke:var(--soft);stroke-dasharray:4 4;fill:none}
.points{fill:none;stroke-width:4;stroke-linecap:round;stroke-opacity:.75}.pair .points{stroke-width:3}
.curve,.step,.flow{fill:none;stroke-width:1.6}.flow{stroke:var(--soft)}.area{stroke:none;fill-opacity:.7}
.points.float,.curve.float,.step.float{stroke:var(--float)}.points.int8,.curve.int8,.step.int8{stroke:var(--int8)}
.points.normal,.step.normal{stroke:var(--good)}.step.anomaly{stroke:var(--bad)}
.area.float{fill:var(--float)}.area.int8{fill:var(--int8)}
.box{fill:var(--panel);stroke:var(--line)}.box.in,.box.out{stroke:var(--float)}
.rows{fill:var(--panel);stroke:var(--line);stroke-dasharray:3 3}
.memory{stroke:var(--page)}.m0{fill:var(--m0)}.m1{fill:var(--m1)}.m2{fill:var(--m2)}.m3{fill:var(--m3)}
.fill.float{fill:var(--float)}.fill.int8{fill:var(--int8)}.fill.other{fill:var(--soft)}
.step.int8,.step.normal{fill-opacity:.25}.step.int8{fill:var(--int8)}.step.normal{fill:var(--good)}
.step.anomaly{stroke-dasharray:6 3}
.matrix td:not(:last-child){padding:2px}
.matrix b{display:block;padding:2px 8px;border-radius:3px;background:var(--shade)}
.matrix .right{--tint:var(--float)}.matrix .wrong{--tint:var(--bad)}.matrix .wrong{outline:1px solid var(--bad)}
.s1{--shade:color-mix(in srgb,var(--tint) 8%,var(--page))}.s2{--shade:color-mix(in srgb,var(--tint) 16%,var(--page))}
.s3{--shade:color-mix(in srgb,var(--tint) 24%,var(--page))}.s4{--shade:color-mix(in srgb,var(--tint) 32%,var(--page))}
.cell{stroke:var(--page)}.frame{fill:none;stroke:var(--line)}.bar{fill:var(--float);fill-opacity:.75}
@media(max-width:600px){th,td{padding:4px 7px}tbody th{white-space:normal}.tiles{grid-template-columns:1fr 1fr;gap:8px}
.tile{padding:8px 10px}.tile .soft{font-size:.88rem}.tile:first-child{grid-column:1/-1}}
@media print{nav{display:none}
body{max-width:none;padding:0}.scroll{overflow:visible}
.scroll svg{max-width:100%;height:auto}table{font-size:.72rem}th,td{padding:2px 5px}figure,.tile,tr{break-inside:avoid}
h2,h3,caption{break-after:avoid}}
"""
