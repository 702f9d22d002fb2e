/* The dress of the page: colours as variables, a light and a dark set, and the classes that charts and tables use. */
#ifndef SHOP_PAGE_STYLE_H
#define SHOP_PAGE_STYLE_H

static const char page_style[] =
	":root{--paper:#fff;--ink:#1c2430;--soft:#5b6675;--rule:#d9dee6;--shade:#f3f5f8;--l1:#178a63;--l2:#2f6fd0;--db:#d97a0b;"
	"--bare:#8a63c7;--stale:#c2317f;--front:#b0a000;--bad:#c62828;--good:#178a63}\n"
	"@media(prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e6eaf0;--soft:#9aa6b5;--rule:#2c3440;--shade:#1a2029;"
	"--l1:#3fc796;--l2:#6ea6ff;--db:#ffab4d;--bare:#b798f2;--stale:#ff7fbd;--front:#d9cf5a;--bad:#ff6b6b;--good:#3fc796}}\n"
	"*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:28px 20px 60px;background:var(--paper);color:var(--ink);"
	"font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif}\n"
	"h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 6px}p{margin:6px 0 10px;max-width:78ch}"
	".soft{color:var(--soft)}code{font:13px ui-monospace,'DejaVu Sans Mono',monospace}\n"
	".verdict{display:inline-block;margin:12px 0;padding:6px 14px;border-radius:6px;font-weight:600;color:#fff}"
	".verdict.good{background:#178a63}.verdict.bad{background:#c62828}\n"
	".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:12px;margin:14px 0}"
	".tile{background:var(--shade);border-radius:8px;padding:12px 14px}.tile b{display:block;font-size:24px;line-height:1.25}"
	".tile span{color:var(--soft);font-size:13px}\n"
	".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px;margin:8px 0}"
	"th,td{padding:5px 7px;vertical-align:bottom;border-bottom:1px solid var(--rule);text-align:right;"
	"font-variant-numeric:tabular-nums}"
	"th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}"
	"td.text,th.text{text-align:left}td.text{white-space:normal}td.good{color:var(--good);font-weight:600}"
	"td.bad{color:var(--bad);font-weight:600}\n"
	"svg{width:100%;height:auto;display:block;margin:6px 0}.key{font-size:13px;color:var(--soft);margin:2px 0 0}"
	".key i{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px -1px 14px}.key i:first-child{margin-left:0}\n"
	"svg text{font:11.5px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}.tick,.name{fill:var(--soft)}"
	".grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}"
	".band{fill:transparent}.band.shaded{fill:var(--shade)}.mark{stroke-width:1.3;stroke-dasharray:4 3}"
	".level{stroke-width:1.3;stroke-dasharray:7 4}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}.area{opacity:.85}\n"
	".area.l1,.dot.l1,.span.l1{fill:var(--l1)}.area.l2,.dot.l2{fill:var(--l2)}.area.db,.dot.db,.span.db{fill:var(--db)}"
	".area.front{fill:var(--front)}.area.bare{fill:var(--bare)}.area.stale,.dot.stale{fill:var(--stale)}"
	".line.l1,.line.p50{stroke:var(--l1)}.line.p99{stroke:var(--l2)}.line.max{stroke:var(--db);stroke-width:1;opacity:.8}"
	".line.db{stroke:var(--db)}.line.bare{stroke:var(--bare)}"
	".mark.bad,.level.bad{stroke:var(--bad)}.mark.event{stroke:var(--ink)}.word.bad{fill:var(--bad)}.word.event{fill:var(--ink)}"
	".word{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}td{white-space:nowrap}"
	".dot{opacity:.75}i.l1{background:var(--l1)}i.l2{background:var(--l2)}i.db{background:var(--db)}i.bare{background:var(--bare)}"
	"i.front{background:var(--front)}i.stale{background:var(--stale)}i.bad{background:var(--bad)}\n";

#endif
