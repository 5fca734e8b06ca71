-- They were recorded as withdrawals, and so forbade the customer's next address, too. The contact points say what bounced.
delete from audience.consent as c
 where c.state = 'withdrawn' and c.source = 'feedback: bounced';
