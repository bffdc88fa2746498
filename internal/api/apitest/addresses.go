package apitest

// Address is where no callback of a stranger's may lead.
type Address struct {
	Host    string // of the URL, as it is written there
	Never   bool   // no setting allows it
	Because string // a part of the reason
}

// RefusedAddresses returns addresses inside the network, in all the spellings that somebody somewhere reads as one.
func RefusedAddresses() []Address {
	return []Address{
		{"127.0.0.1", false, "loopback"},
		{"127.0.0.1:8080", false, "loopback"},
		{"127.8.8.8", false, "loopback"},
		{"localhost", false, "loopback"},
		{"LOCALHOST", false, "loopback"},
		{"[::1]", false, "loopback"},
		{"[0:0:0:0:0:0:0:1]", false, "loopback"},
		{"[::ffff:127.0.0.1]", false, "loopback"},
		{"[::ffff:7f00:1]", false, "loopback"},
		{"[::127.0.0.1]", false, "loopback"},
		{"[64:ff9b::7f00:1]", false, "loopback"},
		{"[2002:7f00:1::]", false, "loopback"},
		{"10.0.0.1", false, "private"},
		{"10.255.255.255", false, "private"},
		{"172.16.0.1", false, "private"},
		{"172.31.255.254", false, "private"},
		{"192.168.0.1", false, "private"},
		{"[::ffff:10.0.0.1]", false, "private"},
		{"[64:ff9b::10.0.0.1]", false, "private"},
		{"100.64.0.1", false, "shared"},
		{"[fc00::1]", false, "unique local"},
		{"[fd00::1]", false, "unique local"},
		{"[fec0::1]", false, "site-local"},
		{"198.18.0.1", false, "benchmarks"},
		{"192.0.2.1", false, "examples"},
		{"2130706433", true, "four decimal numbers"},
		{"017700000001", true, "four decimal numbers"},
		{"0x7f000001", true, "four decimal numbers"},
		{"0x7f.0.0.1", true, "four decimal numbers"},
		{"0177.0.0.1", true, "four decimal numbers"},
		{"127.1", true, "four decimal numbers"},
		{"127.0.1", true, "four decimal numbers"},
		{"127.0.0.1.", true, "four decimal numbers"},
		{"127.0.0.01", true, "four decimal numbers"},
		{"1.2.3.4.5", true, "four decimal numbers"},
		{"127.0.0.1..", true, "plain letters"},
		{"①②⑦.⓪.⓪.①", true, "plain letters"},
		{"127。0。0。1", true, "plain letters"},
		{"[::1%25lo]", true, "zone"},
		{"[fe80::1%25eth0]", true, "zone"},
		{"[fe80::1]", true, "link-local"},
		{"169.254.1.1", true, "link-local"},
		{"169.254.169.254", true, "metadata"},
		{"[::ffff:169.254.169.254]", true, "metadata"},
		{"[64:ff9b::a9fe:a9fe]", true, "metadata"},
		{"[fd00:ec2::254]", true, "metadata"},
		{"100.100.100.200", true, "metadata"},
		{"0.0.0.0", true, "unspecified"},
		{"[::]", true, "unspecified"},
		{"[::ffff:0.0.0.0]", true, "unspecified"},
		{"224.0.0.1", true, "multicast"},
		{"[ff02::1]", true, "multicast"},
		{"255.255.255.255", true, "reserved"},
		{"[2001:0:1::1]", true, "Teredo"},
		{"user:pw@127.0.0.1", true, "user name"},
		{"127.0.0.1%00.example.com", true, "valid URL"},
		{"[127.0.0.1]", true, "valid"},
		{"", true, "host"},
	}
}
