"""How to adapt: one file, one function of facts -> Plan; no torch."""
