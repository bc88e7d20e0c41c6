import com.sun.tools.attach.VirtualMachine;
import java.util.ArrayList;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** What a running Kafka has counted for a topic: {@code java Counted.java PROCESS TOPIC}. */
public class Counted {
    public static void main(String[] arguments) throws Exception {
        var machine = VirtualMachine.attach(arguments[0]);
        var address = new JMXServiceURL(machine.startLocalManagementAgent());
        machine.detach();
        var counters = new ArrayList<String>();
        try (var connector = JMXConnectorFactory.connect(address)) {
            var server = connector.getMBeanServerConnection();
            for (var name : new String[] {"BytesInPerSec", "BytesOutPerSec", "TotalFetchRequestsPerSec"}) {
                var topic = "kafka.server:type=BrokerTopicMetrics,name=" + name + ",topic=" + arguments[1];
                // A topic that was not used yet is not counted.
                var bean = new ObjectName(topic);
                var count = server.isRegistered(bean) ? server.getAttribute(bean, "Count") : 0;
                counters.add("\"" + name + "\": " + count);
            }
        }
        System.out.println("{" + String.join(", ", counters) + "}");
        // Threads of the connection must not be waited for.
        System.exit(0);
    }
}
